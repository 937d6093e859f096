"""Settings of telemetry: whether spans and metrics are sent, and to whom. Their names are those of Azure and of
OpenTelemetry, which the Functions host reads, too."""

from __future__ import annotations

from dataclasses import dataclass, field

from services.setting_values import Values

TEXT, JSON = "text", "json"


@dataclass(frozen=True)
class TelemetrySettings:
    application_insights: str = field(repr=False)
    """Connection string; empty for none."""
    by_identity: bool
    """Application Insights takes nothing without a token of Entra ID."""
    otlp: bool
    """OTEL_EXPORTER_OTLP_ENDPOINT names a collector."""
    log_format: str
    """``text`` for people, ``json`` for machines."""

    @property
    def watched(self) -> bool:
        return bool(self.application_insights) or self.otlp


def read_telemetry(read: Values) -> TelemetrySettings:
    name = "APPLICATIONINSIGHTS_CONNECTION_STRING"
    connection = read.text(name)
    if connection and "InstrumentationKey=" not in connection:
        read.wrong(name, "must be a connection string: InstrumentationKey=…;IngestionEndpoint=https://…")
        connection = ""
    endpoint = "OTEL_EXPORTER_OTLP_ENDPOINT"
    collector = read.text(endpoint)
    if collector and not collector.startswith(("http://", "https://")):
        read.wrong(endpoint, "must begin with http:// or https://")
    in_azure = bool(read.text("WEBSITE_INSTANCE_ID"))
    return TelemetrySettings(
        application_insights=connection,
        by_identity="Authorization=AAD" in read.text("APPLICATIONINSIGHTS_AUTHENTICATION_STRING"),
        otlp=bool(collector),
        log_format=read.choice("IMAGEDELTA_LOG_FORMAT", JSON if in_azure else TEXT, (TEXT, JSON)),
    )
