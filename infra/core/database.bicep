// The record of truth: Azure SQL, which lets nobody in by a password.
param serverName string
param location string
param tags object
param prod bool
param public bool
param adminId string
param adminName string
param adminType string
param deployerAddress string
param workspaceId string

resource server 'Microsoft.Sql/servers@2023-08-01-preview' = {
  name: serverName
  location: location
  tags: tags
  properties: {
    minimalTlsVersion: '1.2'
    publicNetworkAccess: public ? 'Enabled' : 'Disabled'
    administrators: {
      administratorType: 'ActiveDirectory'
      azureADOnlyAuthentication: true
      login: adminName
      principalType: adminType
      sid: adminId
      tenantId: tenant().tenantId
    }
  }

  resource database 'databases' = {
    name: 'imagedelta'
    location: location
    tags: tags
    // Never a database that pauses: the timer asks it every minute, so that it would not, and serverless awake costs more
    // than the small fixed size of dev.
    sku: prod
      ? { name: 'GP_S_Gen5', tier: 'GeneralPurpose', family: 'Gen5', capacity: 2 }
      : { name: 'S0', tier: 'Standard' }
    properties: union(
      { requestedBackupStorageRedundancy: prod ? 'Zone' : 'Local' },
      prod ? { autoPauseDelay: -1, minCapacity: json('0.5'), maxSizeBytes: 34359738368, zoneRedundant: true } : {}
    )

    // How long devices may be at sea when a mistake is noticed; docs/runbooks/restored-database.md.
    resource backups 'backupShortTermRetentionPolicies' = {
      name: 'default'
      properties: { retentionDays: prod ? 35 : 7 }
    }
  }

  // Flex Consumption has no fixed addresses outside of a network: who gets past this still needs a token.
  resource azure 'firewallRules' = if (public) {
    name: 'AllowAllWindowsAzureIps'
    properties: { startIpAddress: '0.0.0.0', endIpAddress: '0.0.0.0' }
  }

  resource deployer 'firewallRules' = if (public && !empty(deployerAddress)) {
    name: 'deployer'
    properties: { startIpAddress: deployerAddress, endIpAddress: deployerAddress }
  }
}

resource told 'Microsoft.Insights/diagnosticSettings@2021-05-01-preview' = {
  scope: server::database
  name: 'faults'
  properties: {
    workspaceId: workspaceId
    logs: [for category in ['Errors', 'Timeouts', 'Blocks', 'Deadlocks']: { category: category, enabled: true }]
  }
}

output serverId string = server.id
output url string = 'mssql+pyodbc://${server.properties.fullyQualifiedDomainName}/${server::database.name}'
