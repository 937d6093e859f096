"""Where layers, patches and outboxes lie: a folder, or an Azure Storage account; and how a device fetches."""
