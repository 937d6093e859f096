// Two accounts: the Functions host's own, which nobody else may reach, and that of images, patches and outboxes, which
// devices fetch from over the internet. So closing the first to a network does not cut off a ship.
import { roles } from 'roles.bicep'

param hostName string
param imagesName string
param location string
param tags object
param sku string
param hostPublic bool
param identityName string
param principalId string

resource host 'Microsoft.Storage/storageAccounts@2023-05-01' = {
  name: hostName
  location: location
  tags: tags
  kind: 'StorageV2'
  sku: { name: sku }
  properties: {
    allowBlobPublicAccess: false
    allowSharedKeyAccess: false
    minimumTlsVersion: 'TLS1_2'
    supportsHttpsTrafficOnly: true
    publicNetworkAccess: hostPublic ? 'Enabled' : 'Disabled'
    networkAcls: { bypass: 'None', defaultAction: hostPublic ? 'Allow' : 'Deny' }
  }

  resource blobs 'blobServices' = {
    name: 'default'

    resource deployments 'containers' = {
      name: 'deployments'
    }
  }
}

resource images 'Microsoft.Storage/storageAccounts@2023-05-01' = {
  name: imagesName
  location: location
  tags: tags
  kind: 'StorageV2'
  sku: { name: sku }
  properties: {
    accessTier: 'Hot'
    allowBlobPublicAccess: false
    allowSharedKeyAccess: false
    minimumTlsVersion: 'TLS1_2'
    supportsHttpsTrafficOnly: true
    publicNetworkAccess: 'Enabled'
    networkAcls: { bypass: 'None', defaultAction: 'Allow' }
  }

  resource lifecycle 'managementPolicies' = {
    name: 'default'
    properties: { policy: loadJsonContent('../storage-lifecycle.json') }
  }
}

// Owner: the host manages leases and its containers; queues and tables: Durable Functions and the timers.
var ofHost = [roles.blobDataOwner, roles.queueDataContributor, roles.tableDataContributor]

resource hostRoles 'Microsoft.Authorization/roleAssignments@2022-04-01' = [
  for role in ofHost: {
    scope: host
    name: guid(host.id, identityName, role)
    properties: {
      principalId: principalId
      principalType: 'ServicePrincipal'
      roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', role)
    }
  }
]

// Reads, writes, makes and deletes blobs and containers, and has user delegation keys: all that services/blobs asks.
resource imagesRole 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  scope: images
  name: guid(images.id, identityName, roles.blobDataContributor)
  properties: {
    principalId: principalId
    principalType: 'ServicePrincipal'
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', roles.blobDataContributor)
  }
}

output hostId string = host.id
output hostName string = host.name
output deploymentContainerUrl string = '${host.properties.primaryEndpoints.blob}${host::blobs::deployments.name}'
output imagesId string = images.id
// Without the slash at its end.
output imagesUrl string = 'https://${images.name}.blob.${environment().suffixes.storage}'
