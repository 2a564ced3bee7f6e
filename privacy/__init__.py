"""People's own say over their data: erasing a person everywhere, legal hold, and retention."""
