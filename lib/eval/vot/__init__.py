"""The side of the VOT toolkit: workspaces, the protocol, their scores."""
