"""Audits: settings to a subject, a subject to records, records to summaries."""
