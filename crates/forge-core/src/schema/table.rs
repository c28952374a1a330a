//! Tables and enums, as data.

use serde::{Deserialize, Serialize};

use super::{SqlType, quote_identifier};

/// A table, as its model declares it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TableDef {
    /// The table's name.
    pub name: String,
    /// The PostgreSQL schema, when it is not the connection's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schema: Option<String>,
    /// The model's name.
    pub model: String,
    /// The columns, in the order of the model's fields.
    pub columns: Vec<ColumnDef>,
    /// The indexes beside the primary key.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub indexes: Vec<IndexDef>,
}

/// A column, as a field declares it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ColumnDef {
    /// The column's name.
    pub name: String,
    /// Its type.
    pub sql_type: SqlType,
    /// Whether it may be NULL.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub nullable: bool,
    /// Whether it is the primary key.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub primary_key: bool,
    /// Whether its values are unique.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub unique: bool,
    /// The SQL expression of its default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default: Option<String>,
    /// Whether every update sets it to the time of the update.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub updated_at: bool,
    /// Whether it stays on the server: the model's type on the wire has no such field.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub private: bool,
}

/// An index, as `#[indexed]` or `#[index(..)]` declares it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct IndexDef {
    /// Its name: `idx_<table>_<columns>` unless said otherwise.
    pub name: String,
    /// Its columns, in order.
    pub columns: Vec<String>,
}

/// An enum type, as `#[forge::forge_enum]` declares it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EnumDef {
    /// Its name in the database.
    pub name: String,
    /// Its Rust name.
    pub rust: String,
    /// Its values, in order.
    pub values: Vec<String>,
}

impl TableDef {
    /// The name for use in SQL, with its schema if it has one.
    pub fn qualified_name(&self) -> String {
        match &self.schema {
            Some(schema) => format!("{}.{}", quote_identifier(schema), quote_identifier(&self.name)),
            None => quote_identifier(&self.name),
        }
    }

    /// The statements that create the table and its indexes, ready for a migration file.
    pub fn to_create_sql(&self) -> String {
        let table = self.qualified_name();
        let columns: Vec<String> = self.columns.iter().map(|column| format!("    {}", column.to_sql())).collect();
        let mut sql = format!("CREATE TABLE {table} (\n{}\n);\n", columns.join(",\n"));
        for index in &self.indexes {
            sql.push_str(&index.to_create_sql(&table));
        }
        sql
    }
}

impl ColumnDef {
    /// The column as `CREATE TABLE` and `ADD COLUMN` take it.
    pub fn to_sql(&self) -> String {
        let mut sql = format!("{} {}", quote_identifier(&self.name), self.sql_type);
        if self.primary_key {
            sql.push_str(" PRIMARY KEY");
        } else if !self.nullable {
            sql.push_str(" NOT NULL");
        }
        if self.unique && !self.primary_key {
            sql.push_str(" UNIQUE");
        }
        if let Some(default) = &self.default {
            sql.push_str(&format!(" DEFAULT {default}"));
        }
        sql
    }
}

impl IndexDef {
    /// The statement that creates it on a table, whose name is ready for SQL.
    pub fn to_create_sql(&self, table: &str) -> String {
        let columns: Vec<String> = self.columns.iter().map(|column| quote_identifier(column)).collect();
        format!("CREATE INDEX {} ON {table} ({});\n", quote_identifier(&self.name), columns.join(", "))
    }
}

impl EnumDef {
    /// The statement that creates the type, ready for a migration file.
    pub fn to_create_sql(&self) -> String {
        let values: Vec<String> = self.values.iter().map(|v| format!("'{}'", v.replace('\'', "''"))).collect();
        format!("CREATE TYPE {} AS ENUM ({});\n", quote_identifier(&self.name), values.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_written_as_sql() {
        let column = |name: &str, sql_type| ColumnDef {
            name: name.into(),
            sql_type,
            nullable: false,
            primary_key: false,
            unique: false,
            default: None,
            updated_at: false,
            private: false,
        };
        let table = TableDef {
            name: "order".into(),
            schema: None,
            model: "Order".into(),
            columns: vec![
                ColumnDef { primary_key: true, ..column("id", SqlType::Uuid) },
                ColumnDef { unique: true, ..column("code", SqlType::Varchar { length: 8 }) },
                ColumnDef { nullable: true, ..column("tags", SqlType::Array { of: Box::new(SqlType::Text) }) },
                ColumnDef { default: Some("now()".into()), ..column("at", SqlType::TimestampTz) },
            ],
            indexes: vec![IndexDef { name: "idx_order_at".into(), columns: vec!["at".into()] }],
        };
        assert_eq!(
            table.to_create_sql(),
            "CREATE TABLE \"order\" (\n    \"id\" uuid PRIMARY KEY,\n    \"code\" varchar(8) NOT NULL UNIQUE,\n    \
             \"tags\" text[],\n    \"at\" timestamptz NOT NULL DEFAULT now()\n);\n\
             CREATE INDEX \"idx_order_at\" ON \"order\" (\"at\");\n"
        );
    }
}
