"""Products by the hundred thousand, as the read model holds them: what a large export is of."""

from typing import Final

MANY_PRODUCTS: Final = """
INSERT INTO read.products_v1
    (tenant_id, product_id, version, name, description, metadata, created_at, used_by, stream_version, position,
     updated_at)
SELECT $1, 'prod_' || lpad(n::text, 26, '0'), 1, $2, repeat('x', 1000), '{}', now() + n * interval '1 s', '[]', 1, 1,
    now()
FROM generate_series(1, $3::int) n
"""
"""$1 the tenant, $2 their name, $3 how many; a second lies between each and the next."""
EXPORTS_UNDER_WAY: Final = (
    "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() "
    "AND application_name = 'tallybook-reader' AND xact_start IS NOT NULL AND query LIKE '%AS product_id%'"
)
"""How many exports of products hold a snapshot."""
