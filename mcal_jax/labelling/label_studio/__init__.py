"""Label Studio: its labelling interface, its tasks as JSON, and the door to a running server."""
