"""How people and programs are told: mail by SMTP, and a signed webhook."""
