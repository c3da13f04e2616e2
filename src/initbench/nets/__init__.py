"""The nets: stacked layers, their wiring, residual rules and parametrizations."""
