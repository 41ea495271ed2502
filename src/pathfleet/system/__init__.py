"""What touches the node: one module for each external thing."""
