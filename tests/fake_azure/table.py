"""Our own table of what may stand in the bodies of the calls that a driver makes; written from the public reference.

Facts only: names, types, choices, what Azure fills in itself. ``judge.py`` compares each request with it in every checkout; the
SDK's models and Microsoft's schemas are second and third opinions where they are present.
"""

from __future__ import annotations

from typing import Any

from tests.fake_azure.shapes import READ_ONLY, Shape, shape_of

_ID = {"id": "text"}
_DELETE_OPTION = "Delete|Detach"
_CACHING = "None|ReadOnly|ReadWrite"
_CREATE_OPTION = "FromImage|Empty|Attach|Copy|Restore"
_STORAGE = "Standard_LRS|Premium_LRS|StandardSSD_LRS|UltraSSD_LRS|Premium_ZRS|StandardSSD_ZRS|PremiumV2_LRS"
_REBOOT = "Unknown|IfRequired|Never|Always"
_BY_PLATFORM = {"bypassPlatformSafetyChecksOnUserSchedule": "flag", "rebootSetting": _REBOOT}
_ASSESSMENT = "ImageDefault|AutomaticByPlatform"
_APPROVE = {"automaticallyApprove": "flag"}

_MANAGED_DISK = {
    "id": "text",
    "storageAccountType": _STORAGE,
    "diskEncryptionSet": _ID,
    "securityProfile": {
        "securityEncryptionType": "VMGuestStateOnly|DiskWithVMGuestState|NonPersistedTPM",
        "diskEncryptionSet": _ID,
    },
}
_OS_DISK = {
    "osType": "Windows|Linux",
    "encryptionSettings": {
        "enabled": "flag",
        "diskEncryptionKey": {"secretUrl!": "text", "sourceVault!": _ID},
        "keyEncryptionKey": {"keyUrl!": "text", "sourceVault!": _ID},
    },
    "name": "text",
    "vhd": {"uri": "text"},
    "image": {"uri": "text"},
    "caching": _CACHING,
    "writeAcceleratorEnabled": "flag",
    "diffDiskSettings": {"option": "Local", "placement": "CacheDisk|ResourceDisk|NvmeDisk"},
    "createOption!": _CREATE_OPTION,
    "diskSizeGB": "whole",
    "managedDisk": _MANAGED_DISK,
    "deleteOption": _DELETE_OPTION,
}
_DATA_DISK = {
    "lun!": "whole",
    "name": "text",
    "vhd": {"uri": "text"},
    "image": {"uri": "text"},
    "caching": _CACHING,
    "writeAcceleratorEnabled": "flag",
    "createOption!": _CREATE_OPTION,
    "diskSizeGB": "whole",
    "managedDisk": _MANAGED_DISK,
    "sourceResource": _ID,
    "toBeDetached": "flag",
    "diskIOPSReadWrite@2025-04-01": "whole",  # read-only before
    "diskMBpsReadWrite@2025-04-01": "whole",
    "detachOption": "ForceDetach",
    "deleteOption": _DELETE_OPTION,
}
_STORAGE_PROFILE = {
    "imageReference": {
        "id": "text",
        "publisher": "text",
        "offer": "text",
        "sku": "text",
        "version": "text",
        "exactVersion": READ_ONLY,
        "sharedGalleryImageId": "text",
        "communityGalleryImageId": "text",
    },
    "osDisk": _OS_DISK,
    "dataDisks": [_DATA_DISK],
    "diskControllerType": "SCSI|NVMe",
    "alignRegionalDisksToVMZone@2024-11-01": "flag",
}
_LINUX = {
    "disablePasswordAuthentication": "flag",
    "ssh": {"publicKeys": [{"path": "text", "keyData": "text"}]},
    "provisionVMAgent": "flag",
    "patchSettings": {
        "patchMode": "ImageDefault|AutomaticByPlatform",
        "assessmentMode": _ASSESSMENT,
        "automaticByPlatformSettings": _BY_PLATFORM,
    },
    "enableVMAgentPlatformUpdates": "flag",
}
_WINDOWS = {
    "provisionVMAgent": "flag",
    "enableAutomaticUpdates": "flag",
    "timeZone": "text",
    "additionalUnattendContent": [
        {
            "passName": "OobeSystem",
            "componentName": "Microsoft-Windows-Shell-Setup",
            "settingName": "AutoLogon|FirstLogonCommands",
            "content": "text",
        }
    ],
    "patchSettings": {
        "patchMode": "Manual|AutomaticByOS|AutomaticByPlatform",
        "enableHotpatching": "flag",
        "assessmentMode": _ASSESSMENT,
        "automaticByPlatformSettings": _BY_PLATFORM,
    },
    "winRM": {"listeners": [{"protocol": "Http|Https", "certificateUrl": "text"}]},
    "enableVMAgentPlatformUpdates": READ_ONLY,
}
_OS_PROFILE = {
    "computerName": "text",
    "adminUsername": "text",
    "adminPassword": "text",
    "customData": "text",
    "windowsConfiguration": _WINDOWS,
    "linuxConfiguration": _LINUX,
    "secrets": [{"sourceVault": _ID, "vaultCertificates": [{"certificateUrl": "text", "certificateStore": "text"}]}],
    "allowExtensionOperations": "flag",
    "requireGuestProvisionSignal": "flag",
}
_PUBLIC_ADDRESS = {
    "name!": "text",
    "properties": {
        "idleTimeoutInMinutes": "whole",
        "deleteOption": _DELETE_OPTION,
        "dnsSettings": {
            "domainNameLabel!": "text",
            "domainNameLabelScope": "TenantReuse|SubscriptionReuse|ResourceGroupReuse|NoReuse",
        },
        "ipTags": [{"ipTagType": "text", "tag": "text"}],
        "publicIPPrefix": _ID,
        "publicIPAddressVersion": "IPv4|IPv6",
        "publicIPAllocationMethod": "Dynamic|Static",
    },
    "sku": {"name": "Basic|Standard", "tier": "Regional|Global"},
    "tags@2025-04-01": {"*": "text"},
}
_IP_CONFIGURATION = {
    "name!": "text",
    "properties": {
        "subnet": _ID,
        "primary": "flag",
        "publicIPAddressConfiguration": _PUBLIC_ADDRESS,
        "privateIPAddressVersion": "IPv4|IPv6",
        "applicationSecurityGroups": [_ID],
        "applicationGatewayBackendAddressPools": [_ID],
        "loadBalancerBackendAddressPools": [_ID],
    },
}
_NETWORK_CARD = {
    "name!": "text",
    "properties": {
        "primary": "flag",
        "deleteOption": _DELETE_OPTION,
        "enableAcceleratedNetworking": "flag",
        "disableTcpStateTracking": "flag",
        "enableFpga": "flag",
        "enableIPForwarding": "flag",
        "networkSecurityGroup": _ID,
        "dnsSettings": {"dnsServers": ["text"]},
        "ipConfigurations!": [_IP_CONFIGURATION],
        "dscpConfiguration": _ID,
        "auxiliaryMode": "None|AcceleratedConnections|Floating",
        "auxiliarySku": "None|A1|A2|A4|A8",
    },
    "tags@2025-04-01": {"*": "text"},
}
_NETWORK_PROFILE = {
    "networkInterfaces": [{"id": "text", "properties": {"primary": "flag", "deleteOption": _DELETE_OPTION}}],
    "networkApiVersion": "2020-11-01|2022-11-01",  # the later one: see rules.py
    "networkInterfaceConfigurations": [_NETWORK_CARD],
}
_MODE = {"mode": "Audit|Enforce|Disabled", "inVMAccessControlProfileReferenceId": "text"}
_SECURITY = {
    "uefiSettings": {"secureBootEnabled": "flag", "vTpmEnabled": "flag"},
    "encryptionAtHost": "flag",
    "securityType": "TrustedLaunch|ConfidentialVM",
    "encryptionIdentity": {"userAssignedIdentityResourceId": "text"},
    "proxyAgentSettings": {
        "enabled": "flag",
        "mode": "Audit|Enforce",
        "keyIncarnationId": "whole",
        "wireServer@2024-11-01": _MODE,
        "imds@2024-11-01": _MODE,
        "addProxyAgentExtension@2025-04-01": "flag",
    },
}
_EVENTS_POLICY = {
    "userInitiatedRedeploy": _APPROVE,
    "userInitiatedReboot": _APPROVE,
    "allInstancesDown@2025-04-01": _APPROVE,
    "scheduledEventsAdditionalPublishingTargets": {
        "eventGridAndResourceGraph": {"enable": "flag", "scheduledEventsApiVersion@2025-04-01": "text"}
    },
}
_PROPERTIES = {
    "hardwareProfile": {"vmSize": "text", "vmSizeProperties": {"vCPUsAvailable": "whole", "vCPUsPerCore": "whole"}},
    "scheduledEventsPolicy": _EVENTS_POLICY,
    "storageProfile": _STORAGE_PROFILE,
    "additionalCapabilities": {
        "ultraSSDEnabled": "flag",
        "hibernationEnabled": "flag",
        "enableFips1403Encryption@2025-04-01": "flag",
    },
    "osProfile": _OS_PROFILE,
    "networkProfile": _NETWORK_PROFILE,
    "securityProfile": _SECURITY,
    "diagnosticsProfile": {"bootDiagnostics": {"enabled": "flag", "storageUri": "text"}},
    "availabilitySet": _ID,
    "virtualMachineScaleSet": _ID,
    "proximityPlacementGroup": _ID,
    "priority": "Regular|Low|Spot",
    "evictionPolicy": "Deallocate|Delete",
    "billingProfile": {"maxPrice": "number"},
    "host": _ID,
    "hostGroup": _ID,
    "provisioningState": READ_ONLY,
    "instanceView": READ_ONLY,
    "licenseType": "text",
    "vmId": READ_ONLY,
    "extensionsTimeBudget": "text",
    "platformFaultDomain": "whole",
    "scheduledEventsProfile": {
        "terminateNotificationProfile": {"notBeforeTimeout": "text", "enable": "flag"},
        "osImageNotificationProfile": {"notBeforeTimeout": "text", "enable": "flag"},
    },
    "userData": "text",
    "capacityReservation": {"capacityReservationGroup": _ID},
    "applicationProfile": {
        "galleryApplications": [
            {
                "tags": "text",
                "order": "whole",
                "packageReferenceId!": "text",
                "configurationReference": "text",
                "treatFailureAsDeploymentFailure": "flag",
                "enableAutomaticUpgrade": "flag",
            }
        ]
    },
    "timeCreated": READ_ONLY,
}
_IDENTITY = {
    "principalId": READ_ONLY,
    "tenantId": READ_ONLY,
    "type": "SystemAssigned|UserAssigned|SystemAssigned, UserAssigned|None",
    "userAssignedIdentities": {"*": {"principalId": READ_ONLY, "clientId": READ_ONLY}},
}
_CHANGE: dict[str, Any] = {
    "plan": {"name": "text", "publisher": "text", "product": "text", "promotionCode": "text"},
    "properties": _PROPERTIES,
    "identity": _IDENTITY,
    "zones": ["text"],
    "tags": {"*": "text"},
}
_FILLED_IN = dict.fromkeys(("id", "name", "type", "etag", "managedBy", "resources", "systemData"), READ_ONLY)

CREATE: Shape = shape_of(
    {
        **_CHANGE,
        **_FILLED_IN,
        "location!": "text",
        "extendedLocation": {"name": "text", "type": "EdgeZone"},
        "placement@2024-11-01": {
            "zonePlacementPolicy": "Any|Auto",
            "includeZones": ["text"],
            "excludeZones": ["text"],
        },
    }
)
UPDATE: Shape = shape_of(_CHANGE)
MERGE_TAGS: Shape = shape_of({"operation!": "Replace|Merge|Delete", "properties!": {"tags!": {"*": "text"}}})
