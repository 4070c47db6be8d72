"""The socket API: who may call, what a request may say, the routes, and their description as OpenAPI."""
