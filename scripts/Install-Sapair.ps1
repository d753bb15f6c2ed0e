<#
.SYNOPSIS
    Installs sapair from the folder of this script, or takes it away.

.DESCRIPTION
    Copies the program to Program Files, makes C:\ProgramData\sapair with rights for SYSTEM and
    Administrators only, allows the agent's link, ESP and probes in the firewall, and installs the
    service. If there is a configuration, it starts the service. The script may be run again: it
    updates what exists. -WhatIf shows what would be done.

.PARAMETER RemoteAddress
    Addresses or subnets of the peers, from which the firewall allows link, ESP and probes. Default: any.

.PARAMETER Port
    TCP port of the link and UDP port of the probes.

.PARAMETER Uninstall
    Stops and removes the service, our filters and SAs, the firewall rules and the program. The
    configuration with its keys stays, unless -RemoveConfig is given too.

.EXAMPLE
    powershell -ExecutionPolicy Bypass -File Install-Sapair.ps1 -RemoteAddress 192.0.2.2

.EXAMPLE
    powershell -ExecutionPolicy Bypass -File Install-Sapair.ps1 -Uninstall
#>
#Requires -Version 5.1
#Requires -RunAsAdministrator
[CmdletBinding(SupportsShouldProcess = $true)]
param(
    [string] $Destination = (Join-Path $env:ProgramFiles 'sapair'),
    [string[]] $RemoteAddress = @('Any'),
    [ValidateRange(1, 65535)] [int] $Port = 4510,
    [switch] $Uninstall,
    [switch] $RemoveConfig
)

Set-StrictMode -Version 2.0
$ErrorActionPreference = 'Stop'

$exe = Join-Path $Destination 'sapair.exe'
$data = Join-Path $env:ProgramData 'sapair'
$config = Join-Path $data 'sapair.json'
$rules = @('sapair-link', 'sapair-esp', 'sapair-probe')

# Runs a program; a non-zero exit status ends the script.
function Invoke-Program {
    param([string] $File, [string[]] $Arguments)
    & $File @Arguments
    if ($LASTEXITCODE -ne 0) {
        throw ('{0} {1}: exit {2}' -f $File, ($Arguments -join ' '), $LASTEXITCODE)
    }
}

# All users may create folders in ProgramData: do not use one that another user has created.
function Protect-DataFolder {
    $trusted = @('S-1-5-18', 'S-1-5-32-544', [Security.Principal.WindowsIdentity]::GetCurrent().User.Value)
    if (Test-Path -LiteralPath $data) {
        $item = Get-Item -LiteralPath $data -Force
        $owner = (Get-Acl -LiteralPath $data).GetOwner([Security.Principal.SecurityIdentifier]).Value
        if (($item.Attributes -band [IO.FileAttributes]::ReparsePoint) -or ($trusted -notcontains $owner)) {
            throw ('{0} belongs to {1}, or is a link. Check it, remove it, and run this script again.' -f $data, $owner)
        }
    } else {
        New-Item -ItemType Directory -Path $data | Out-Null
    }
    Invoke-Program 'icacls.exe' @($data, '/inheritance:r', '/grant:r', '*S-1-5-18:(OI)(CI)F',
        '*S-1-5-32-544:(OI)(CI)F', '/q')
    Invoke-Program 'icacls.exe' @($data, '/setowner', '*S-1-5-32-544', '/q')
}

function Remove-Rules {
    foreach ($rule in $rules) {
        Remove-NetFirewallRule -Name $rule -ErrorAction SilentlyContinue
    }
}

function Add-Rules {
    Remove-Rules
    $common = @{ Direction = 'Inbound'; Action = 'Allow'; RemoteAddress = $RemoteAddress; Group = 'sapair' }
    New-NetFirewallRule @common -Name 'sapair-link' -DisplayName 'sapair: link' -Protocol TCP -LocalPort $Port -Program $exe |
        Out-Null
    New-NetFirewallRule @common -Name 'sapair-esp' -DisplayName 'sapair: ESP' -Protocol 50 | Out-Null
    New-NetFirewallRule @common -Name 'sapair-probe' -DisplayName 'sapair: probes' -Protocol UDP -LocalPort $Port -Program $exe |
        Out-Null
}

function Install-Sapair {
    if (-not [Environment]::Is64BitOperatingSystem) {
        throw 'sapair.exe is for x64.'
    }
    $source = Join-Path $PSScriptRoot 'sapair.exe'
    if (-not (Test-Path -LiteralPath $source)) {
        throw ('{0} does not exist. Run this script from the unpacked folder.' -f $source)
    }
    $service = Get-Service -Name 'sapair' -ErrorAction SilentlyContinue
    if ($service -and $service.Status -ne 'Stopped') {
        Stop-Service -Name 'sapair'
    }
    New-Item -ItemType Directory -Path $Destination -Force | Out-Null
    if ($PSScriptRoot -ne (Resolve-Path -LiteralPath $Destination).Path) {
        Copy-Item -Path (Join-Path $PSScriptRoot '*') -Destination $Destination -Recurse -Force
    }
    Unblock-File -LiteralPath $exe
    Protect-DataFolder
    Add-Rules
    if (-not (Test-Path -LiteralPath $config)) {
        Write-Output ('There is no configuration. Write {0} (see sapair.example.json), or pair with a token:' -f $config)
        Write-Output ('    & "{0}" invite NAME     here, and "sapair join" on the other host' -f $exe)
        Write-Output 'Then run this script again.'
        return
    }
    Invoke-Program $exe @('service', 'install', '--config', $config)
    Invoke-Program $exe @('service', 'start')
    Invoke-Program $exe @('status')
}

function Uninstall-Sapair {
    if (Test-Path -LiteralPath $exe) {
        Invoke-Program $exe @('service', 'remove')
        Invoke-Program $exe @('clean')
    }
    Remove-Rules
    if (Test-Path -LiteralPath $Destination) {
        Remove-Item -LiteralPath $Destination -Recurse -Force
    }
    if ($RemoveConfig -and (Test-Path -LiteralPath $data)) {
        Remove-Item -LiteralPath $data -Recurse -Force
    }
}

if ($Uninstall) {
    if ($PSCmdlet.ShouldProcess($Destination, 'remove service, filters, SAs, firewall rules and program')) {
        Uninstall-Sapair
    }
} elseif ($PSCmdlet.ShouldProcess($Destination, 'copy the program, protect the data folder, open the firewall, install the service')) {
    Install-Sapair
}
