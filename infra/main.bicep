// Everything that imagedelta is in Azure, in one resource group: `azd provision` deploys it.
targetScope = 'subscription'

@minLength(1)
@maxLength(64)
@description('Name of the environment; with the subscription and the region it makes the names of all resources.')
param environmentName string

@minLength(1)
@description('Region of all resources; one that has Flex Consumption.')
param location string

@allowed(['dev', 'prod'])
@description('Sizes: dev is the least that works; with prod storage and database survive the loss of a zone.')
param kind string = 'dev'

@description('The function app in a virtual network; host storage, database and vault by private endpoints alone.')
param privateNetwork bool = false

@description('Object id in Entra ID of who deploys, and what it is: azd knows them.')
param principalId string

@allowed(['User', 'ServicePrincipal'])
param principalType string = 'User'

@description('Object id of the group that administers the database and runs its migrations; empty: who deploys does.')
param databaseAdminGroupId string = ''

@description('Name that the database shows for its administrator.')
param databaseAdminName string

@description('Public address that migrations come from; empty to leave the database closed to it.')
param deployerAddress string = ''

@description('Client id of the app registration whose tokens are taken; empty: function keys instead.')
param authClientId string = ''

@description('Mail server; empty: nobody is told by mail.')
param smtpHost string = ''
param smtpUser string = ''
@secure()
param smtpPassword string = ''
param mailFrom string = ''

var abbrs = loadJsonContent('abbreviations.json')
var token = toLower(uniqueString(subscription().id, environmentName, location))
var tags = { 'azd-env-name': environmentName }
var prod = kind == 'prod'
// Roles and secrets are named by these, and not by what a deployment gives out, so that what-if can tell them in advance.
var identityName = '${abbrs.managedIdentityUserAssignedIdentities}${token}'
var vaultName = '${abbrs.keyVaultVaults}${token}'

resource group 'Microsoft.Resources/resourceGroups@2024-03-01' = {
  name: '${abbrs.resourcesResourceGroups}${environmentName}'
  location: location
  tags: tags
}

module identity 'core/identity.bicep' = {
  scope: group
  params: { name: identityName, location: location, tags: tags }
}

module monitoring 'core/monitoring.bicep' = {
  scope: group
  params: {
    insightsName: '${abbrs.insightsComponents}${token}'
    workspaceName: '${abbrs.operationalInsightsWorkspaces}${token}'
    location: location
    tags: tags
    identityName: identityName
    principalId: identity.outputs.principalId
  }
}

module network 'core/network.bicep' = if (privateNetwork) {
  scope: group
  params: {
    name: '${abbrs.networkVirtualNetworks}${token}'
    gatewayName: '${abbrs.networkNatGateways}${token}'
    addressName: '${abbrs.networkPublicIPAddresses}${token}'
    location: location
    tags: tags
  }
}

module storage 'core/storage.bicep' = {
  scope: group
  params: {
    hostName: '${abbrs.storageStorageAccounts}h${token}'
    imagesName: '${abbrs.storageStorageAccounts}i${token}'
    location: location
    tags: tags
    sku: prod ? 'Standard_ZRS' : 'Standard_LRS'
    hostPublic: !privateNetwork
    identityName: identityName
    principalId: identity.outputs.principalId
  }
}

module database 'core/database.bicep' = {
  scope: group
  params: {
    serverName: '${abbrs.sqlServers}${token}'
    location: location
    tags: tags
    prod: prod
    public: !privateNetwork
    adminId: empty(databaseAdminGroupId) ? principalId : databaseAdminGroupId
    adminName: databaseAdminName
    adminType: !empty(databaseAdminGroupId) ? 'Group' : principalType == 'User' ? 'User' : 'Application'
    deployerAddress: deployerAddress
    workspaceId: monitoring.outputs.workspaceId
  }
}

module vault 'core/vault.bicep' = {
  scope: group
  params: {
    name: vaultName
    location: location
    tags: tags
    public: !privateNetwork
    prod: prod
    identityName: identityName
    principalId: identity.outputs.principalId
    workspaceId: monitoring.outputs.workspaceId
    smtpPassword: smtpPassword
  }
}

module hub 'core/hub.bicep' = {
  scope: group
  params: {
    name: '${abbrs.devicesIotHubs}${token}'
    location: location
    tags: tags
    units: 1
    identityName: identityName
    principalId: identity.outputs.principalId
    vaultName: vaultName
    workspaceId: monitoring.outputs.workspaceId
  }
  dependsOn: [vault]
}

module registry 'core/registry.bicep' = {
  scope: group
  params: {
    name: '${abbrs.containerRegistryRegistries}${token}'
    location: location
    tags: tags
    sku: privateNetwork ? 'Premium' : prod ? 'Standard' : 'Basic'
    identityName: identityName
    principalId: identity.outputs.principalId
  }
}

module endpoints 'core/endpoints.bicep' = if (privateNetwork) {
  scope: group
  params: {
    location: location
    tags: tags
    prefix: abbrs.networkPrivateEndpoints
    networkId: network!.outputs.id
    subnetId: network!.outputs.endpointsSubnetId
    hostStorageId: storage.outputs.hostId
    imagesStorageId: storage.outputs.imagesId
    databaseId: database.outputs.serverId
    vaultId: vault.outputs.id
    registryId: registry.outputs.id
  }
}

module api 'app/api.bicep' = {
  scope: group
  params: {
    name: '${abbrs.webSitesFunctions}${token}'
    planName: '${abbrs.webServerFarms}${token}'
    location: location
    tags: union(tags, { 'azd-service-name': 'api' })
    maximumInstances: prod ? 100 : 40
    subnetId: privateNetwork ? network!.outputs.appSubnetId : ''
    identityId: identity.outputs.id
    identityClientId: identity.outputs.clientId
    hostStorageName: storage.outputs.hostName
    deploymentContainerUrl: storage.outputs.deploymentContainerUrl
    authClientId: authClientId
    settings: union(
      {
        APPLICATIONINSIGHTS_CONNECTION_STRING: monitoring.outputs.connectionString
        IMAGEDELTA_DATABASE_URL: database.outputs.url
        IMAGEDELTA_STORAGE: storage.outputs.imagesUrl
        IMAGEDELTA_SEAL_KEYS: vault.outputs.sealKey
        IMAGEDELTA_HUBS: 'main'
        IMAGEDELTA_HUB_MAIN_SERVICE: hub.outputs.host
        IMAGEDELTA_HUB_MAIN_EVENTS: hub.outputs.events
        IMAGEDELTA_HUB_MAIN_EVENTS_NAME: hub.outputs.eventsName
        IMAGEDELTA_HUB_MAIN_CONSUMER_GROUP: hub.outputs.consumerGroup
        IMAGEDELTA_HUB_MAIN_UNITS: string(hub.outputs.units)
        IMAGEDELTA_REGISTRIES: 'main'
        IMAGEDELTA_REGISTRY_MAIN_HOST: registry.outputs.host
      },
      empty(authClientId) ? {} : { IMAGEDELTA_TENANT: tenant().tenantId },
      empty(smtpHost) ? {} : { IMAGEDELTA_SMTP_HOST: smtpHost, IMAGEDELTA_MAIL_FROM: mailFrom },
      empty(smtpUser) ? {} : { IMAGEDELTA_SMTP_USER: smtpUser, IMAGEDELTA_SMTP_PASSWORD: vault.outputs.smtpPassword }
    )
  }
}

output AZURE_LOCATION string = location
output AZURE_RESOURCE_GROUP string = group.name
output AZURE_CONTAINER_REGISTRY_ENDPOINT string = registry.outputs.host
output AZURE_FUNCTION_APP string = api.outputs.name
output AZURE_IOT_HUB string = hub.outputs.name
output AZURE_KEY_VAULT string = vault.outputs.name
output IMAGEDELTA_URL string = api.outputs.url
output IMAGEDELTA_DATABASE_URL string = database.outputs.url
// No IMAGEDELTA_… : names of settings are the app's, and what only looks like one is refused.
output AZURE_IDENTITY_NAME string = identity.outputs.name
output AZURE_IDENTITY_CLIENT_ID string = identity.outputs.clientId
