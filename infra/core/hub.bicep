// What devices report to. The service side lets the app in by its identity; the built-in event hub endpoint takes shared
// keys alone, so a policy that may do nothing but connect there lies in the vault (docs/adr/0036).
import { roles } from 'roles.bicep'

param name string
param location string
param tags object
param units int
param identityName string
param principalId string
param vaultName string

var group = 'imagedelta'
var policy = 'events'

resource hub 'Microsoft.Devices/IotHubs@2023-06-30' = {
  name: name
  location: location
  tags: tags
  sku: { name: 'S1', capacity: units }
  properties: {
    minTlsVersion: '1.2'
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
