"""Local blob storage: a folder behind the part of the Azure Blob REST that a device and an uploader need."""
