// What devices report to. The service side lets the app in by its identity; the built-in event hub endpoint takes shared
// keys alone, so the key of a policy with the least right that opens it lies in the vault (docs/adr/0036).
import { roles } from 'roles.bicep'

param name string
param location string
param tags object
param units int
param identityName string
param principalId string
param vaultName string
param workspaceId string

var group = 'imagedelta'
var policy = 'events'
// Elsewhere the property is refused; TLS below 1.2 IoT Hub no longer takes anywhere.
// Source: learn.microsoft.com/azure/iot-hub/iot-hub-tls-support, "TLS 1.2 enforcement available in select regions".
var enforcing = ['eastus', 'southcentralus', 'westus2', 'usgovarizona', 'usgovvirginia']

resource hub 'Microsoft.Devices/IotHubs@2023-06-30' = {
  name: name
  location: location
  tags: tags
  sku: { name: 'S1', capacity: units }
  properties: {
    minTlsVersion: contains(enforcing, toLower(replace(location, ' ', ''))) ? '1.2' : null
    publicNetworkAccess: 'Enabled'
    authorizationPolicies: [{ keyName: policy, rights: 'ServiceConnect' }]
    eventHubEndpoints: { events: { retentionTimeInDays: 7, partitionCount: 4 } }
    routing: {
      routes: [
        {
          name: 'imagedelta'
          source: 'DeviceMessages'
          condition: '$connectionModuleId = \'imagereconstruction\''
          endpointNames: ['events']
          isEnabled: true
        }
      ]
      // Without another route, what other modules send would come to the app only to be refused.
      fallbackRoute: {
        name: '$fallback'
        source: 'DeviceMessages'
        condition: 'false'
        endpointNames: ['events']
        isEnabled: false
      }
    }
  }
}

#disable-next-line use-parent-property // the compiler has no type of the endpoint between them
resource consumers 'Microsoft.Devices/IotHubs/eventHubEndpoints/ConsumerGroups@2023-06-30' = {
  name: '${hub.name}/events/${group}'
  properties: { name: group }
}

// Faults of routes, and who made devices and deployments. Not each connection: a fleet at sea has too many.
resource told 'Microsoft.Insights/diagnosticSettings@2021-05-01-preview' = {
  scope: hub
  name: 'audit'
  properties: {
    workspaceId: workspaceId
    logs: [
      for category in ['Routes', 'DeviceIdentityOperations', 'Configurations']: { category: category, enabled: true }
    ]
  }
}

resource manages 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  scope: hub
  name: guid(hub.id, identityName, roles.iotHubDataContributor)
  properties: {
    principalId: principalId
    principalType: 'ServicePrincipal'
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', roles.iotHubDataContributor)
  }
}

resource vault 'Microsoft.KeyVault/vaults@2023-07-01' existing = {
  name: vaultName

  resource events 'secrets' = {
    name: 'hub-events'
    properties: {
      value: 'Endpoint=${hub.properties.eventHubEndpoints.events.endpoint};SharedAccessKeyName=${policy};SharedAccessKey=${hub.listKeys().value[0].primaryKey};EntityPath=${hub.properties.eventHubEndpoints.events.path}'
    }
  }
}

output name string = hub.name
output host string = hub.properties.hostName
output units int = units
output consumerGroup string = last(split(consumers.name, '/'))
output eventsName string = hub.properties.eventHubEndpoints.events.path
output events string = '@Microsoft.KeyVault(SecretUri=${vault::events.properties.secretUri})'
