// A network for the app's way out, and one for the private endpoints it goes to. What has no private endpoint (the hub,
// mail, Entra ID, Application Insights) is reached through a gateway with an address of its own: new networks have no way
// out by themselves.
param name string
param gatewayName string
param addressName string
param location string
param tags object

resource address 'Microsoft.Network/publicIPAddresses@2024-01-01' = {
  name: addressName
  location: location
  tags: tags
  sku: { name: 'Standard' }
  properties: { publicIPAllocationMethod: 'Static' }
}

resource gateway 'Microsoft.Network/natGateways@2024-01-01' = {
  name: gatewayName
  location: location
  tags: tags
  sku: { name: 'Standard' }
  properties: { publicIpAddresses: [{ id: address.id }] }
}

resource network 'Microsoft.Network/virtualNetworks@2024-01-01' = {
  name: name
  location: location
  tags: tags
  properties: {
    addressSpace: { addressPrefixes: ['10.0.0.0/16'] }
    subnets: [
      {
        name: 'app'
        properties: {
          addressPrefix: '10.0.0.0/24'
          natGateway: { id: gateway.id }
          // Flex Consumption's own, not that of the other plans.
          delegations: [{ name: 'flex', properties: { serviceName: 'Microsoft.App/environments' } }]
        }
      }
      {
        name: 'endpoints'
        properties: { addressPrefix: '10.0.1.0/24', privateEndpointNetworkPolicies: 'Disabled' }
      }
    ]
  }

  resource app 'subnets' existing = {
    name: 'app'
  }

  resource endpoints 'subnets' existing = {
    name: 'endpoints'
  }
}

output id string = network.id
output appSubnetId string = network::app.id
output endpointsSubnetId string = network::endpoints.id
