"""What all tables are described with: one metadata, kinds of columns, and views of tables."""

from sqlalchemy import Column, DateTime, MetaData, Numeric, Table

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
        "pk": "pk_%(table_name)s",
    }
)

views = MetaData()
"""What the reader role sees. The views are made by the migrations, which must list every column."""

USD_PRECISION, USD_SCALE = 24, 12
Usd = Numeric(USD_PRECISION, USD_SCALE)
Instant = DateTime(timezone=True)


def is_money(*columns: str) -> str:
    """A check of columns: amounts of at least 0, or NULL."""
    # NUMERIC accepts NaN and sorts it above every number, so one of them would spoil every sum.
    return " AND ".join(f"{column} >= 0 AND {column} < 'NaN'::numeric" for column in columns)


def view_of_table(name: str, table: Table, *, without: frozenset[str] = frozenset()) -> Table:
    """What the reader role sees of a table: all columns but some."""
    columns = (
        Column(column.name, column.type) for column in table.columns if column.name not in without
    )
    return Table(name, views, *columns)
