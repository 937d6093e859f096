"""The service side of IoT hubs: one port, asked by Azure's library or by REST, within the hub's limits."""
