"""The component library: one file per component, what they share in :mod:`components.engines`."""
