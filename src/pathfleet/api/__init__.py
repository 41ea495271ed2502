"""The HTTP interface of an agent: what the cluster and its nodes say, as JSON."""
