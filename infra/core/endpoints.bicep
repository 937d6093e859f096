// One private endpoint and one DNS zone for each service that the app reaches inside of its network.
param location string
param tags object
param prefix string
param networkId string
param subnetId string
param hostStorageId string
param imagesStorageId string
param databaseId string
param vaultId string
param registryId string

var zones = {
  blob: 'privatelink.blob.${environment().suffixes.storage}'
  queue: 'privatelink.queue.${environment().suffixes.storage}'
  table: 'privatelink.table.${environment().suffixes.storage}'
  sqlServer: 'privatelink${environment().suffixes.sqlServerHostname}'
  vault: 'privatelink.vaultcore.azure.net'
  registry: 'privatelink.azurecr.io'
}

var services = [
  { name: 'host-blob', id: hostStorageId, group: 'blob' }
  { name: 'host-queue', id: hostStorageId, group: 'queue' }
  { name: 'host-table', id: hostStorageId, group: 'table' }
  { name: 'images-blob', id: imagesStorageId, group: 'blob' }
  { name: 'sql', id: databaseId, group: 'sqlServer' }
  { name: 'vault', id: vaultId, group: 'vault' }
  { name: 'registry', id: registryId, group: 'registry' }
]

resource zone 'Microsoft.Network/privateDnsZones@2020-06-01' = [
  for each in items(zones): {
    name: each.value
    location: 'global'
    tags: tags
  }
]

resource link 'Microsoft.Network/privateDnsZones/virtualNetworkLinks@2020-06-01' = [
  for (each, index) in items(zones): {
    parent: zone[index]
    name: 'network'
    location: 'global'
    tags: tags
    properties: { registrationEnabled: false, virtualNetwork: { id: networkId } }
  }
]

module endpoint 'endpoint.bicep' = [
  for service in services: {
    params: {
      name: '${prefix}${service.name}'
      location: location
      tags: tags
      subnetId: subnetId
      targetId: service.id
      group: service.group
      zoneId: resourceId('Microsoft.Network/privateDnsZones', zones[service.group])
    }
    dependsOn: [zone, link]
  }
]
