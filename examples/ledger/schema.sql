-- The ledger's tables. Every key carries the tenant, so that one tenant's keys say nothing about another's:
-- a key that is unique over all tenants would answer "taken" for a row its asker may not know of.

CREATE TABLE accounts (
  tenant_id  text NOT NULL,
  id         uuid NOT NULL,
  name       text NOT NULL,
  currency   text NOT NULL CHECK (currency ~ '^[A-Z]{3}$'),
  created_by text NOT NULL,
  created_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (tenant_id, id)
);

CREATE TABLE beneficiaries (
  tenant_id  text NOT NULL,
  id         uuid NOT NULL,
  name       text NOT NULL,
  country    text NOT NULL CHECK (country ~ '^[A-Z]{2}$'),
  iban       text NOT NULL,
  created_by text NOT NULL,
  created_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (tenant_id, id)
);

CREATE TABLE payments (
  tenant_id      text NOT NULL,
  id             uuid NOT NULL,
  account_id     uuid NOT NULL,
  beneficiary_id uuid NOT NULL,
  amount         bigint NOT NULL CHECK (amount > 0),
  currency       text NOT NULL CHECK (currency ~ '^[A-Z]{3}$'),
  memo           text NOT NULL DEFAULT '',
  status         text NOT NULL DEFAULT 'booked' CHECK (status IN ('booked', 'refunded')),
  created_by     text NOT NULL,
  created_at     timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (tenant_id, id),
  FOREIGN KEY (tenant_id, account_id) REFERENCES accounts (tenant_id, id),
  FOREIGN KEY (tenant_id, beneficiary_id) REFERENCES beneficiaries (tenant_id, id)
);

CREATE INDEX payments_by_time ON payments (tenant_id, created_at DESC, id);
