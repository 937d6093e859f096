// The key that seals bundles, which never leaves it, and what the app must be shown as a secret.
import { roles } from 'roles.bicep'

@maxLength(24)
param name string
param location string
param tags object
param public bool
param prod bool
param identityName string
param principalId string
param workspaceId string
@secure()
param smtpPassword string

resource vault 'Microsoft.KeyVault/vaults@2023-07-01' = {
  name: name
  location: location
  tags: tags
  properties: {
    tenantId: tenant().tenantId
    sku: { family: 'A', name: 'standard' }
    enableRbacAuthorization: true
    enableSoftDelete: true
    // Fleets trust the key in it. A dev environment can be taken away for good instead (azd down --purge).
    enablePurgeProtection: prod ? true : null
    publicNetworkAccess: public ? 'Enabled' : 'Disabled'
    networkAcls: { bypass: 'AzureServices', defaultAction: public ? 'Allow' : 'Deny' }
  }

  // Deployed again it stays the version that it is: devices trust that one.
  resource seal 'keys' = {
    name: 'seal'
    properties: { kty: 'EC', curveName: 'P-256', keyOps: ['sign', 'verify'] }
  }

  resource mail 'secrets' = if (!empty(smtpPassword)) {
    name: 'smtp-password'
    properties: { value: smtpPassword }
  }
}

// Who read a secret, and who had something sealed.
resource audit 'Microsoft.Insights/diagnosticSettings@2021-05-01-preview' = {
  scope: vault
  name: 'audit'
  properties: { workspaceId: workspaceId, logs: [{ category: 'AuditEvent', enabled: true }] }
}

var granted = [roles.keyVaultCryptoUser, roles.keyVaultSecretsUser]

resource grants 'Microsoft.Authorization/roleAssignments@2022-04-01' = [
  for role in granted: {
    scope: vault
    name: guid(vault.id, identityName, role)
    properties: {
      principalId: principalId
      principalType: 'ServicePrincipal'
      roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', role)
    }
  }
]

output id string = vault.id
output name string = vault.name
output sealKey string = vault::seal.properties.keyUriWithVersion
#disable-next-line outputs-should-not-contain-secrets // a reference, which the vault resolves for the app alone
output smtpPassword string = '@Microsoft.KeyVault(SecretUri=${vault.properties.vaultUri}secrets/smtp-password)'
