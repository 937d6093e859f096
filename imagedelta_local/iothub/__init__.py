"""Local IoT hubs: identities, twins, deployments and telemetry behind the public REST shapes of Azure IoT Hub."""
