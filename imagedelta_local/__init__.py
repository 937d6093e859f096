"""Local stand-ins for what surrounds an app in Azure: IoT hubs and blob containers, mounted beside the host."""
