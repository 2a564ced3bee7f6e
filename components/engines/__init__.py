"""Pure functions over Arrow and numpy that the components share. No store or runner here."""
