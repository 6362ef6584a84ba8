# Rails' ActiveRecord as two tenants, each with a pool of its own. Arguments: port, database, a token of acme's, one of
# globex'.

require "active_record"

PORT, DATABASE, *TOKENS = ARGV
TENANTS = { "acme" => [TOKENS[0], 3, "globex"], "globex" => [TOKENS[1], 5, "acme"] }.freeze

def same(wanted, found)
  raise "wanted #{wanted.inspect}, found #{found.inspect}" unless wanted == found
end

def refused(sqlstate)
  yield
rescue ActiveRecord::StatementInvalid => error
  same(sqlstate, error.cause.result.error_field(PG::Result::PG_DIAG_SQLSTATE))
  error
else
  raise "it was not refused"
end

def about(tenant, **changed)
  { adapter: "postgresql", host: "127.0.0.1", port: PORT, database: DATABASE, username: tenant, encoding: "unicode",
    password: TENANTS[tenant][0], pool: 5, checkout_timeout: 20, **changed }
end

# A tenant's accounts, over a pool of its own. Their key is `id`: within a tenant it is unique.
def accounts(tenant, **changed)
  base = Class.new(ActiveRecord::Base) { self.abstract_class = true }
  Object.const_set("Base#{Object.constants.size}", base)
  base.establish_connection(about(tenant, **changed))
  Class.new(base) do
    self.table_name = "accounts"
    self.primary_key = "id"
    def self.name = "Account"
  end
end

SET = { "client_min_messages" => "warning", "intervalstyle" => "iso_8601", "timezone" => "UTC",
        "standard_conforming_strings" => "on", "client_encoding" => "UTF8" }.freeze

# More connections than there are to Postgres; those of both tenants have them in turn.
def shared(models)
  threads = 10.times.map do |number|
    tenant, model = models.to_a[number % 2]
    Thread.new do
      model.connection_pool.with_connection do |connection|
        12.times do
          same(TENANTS[tenant][1], model.where("id > ?", 0).count)
          same("#{tenant}", model.find(2).tenant_id)
          SET.each { |name, value| same(value, connection.select_value("SHOW #{name}")) }
        end
      end
    end
  end
  threads.each { |thread| thread.report_on_exception = false }.each(&:join)
end

def writes(model, tenant, other)
  model.create!(tenant_id: tenant, id: 90, owner: "o'wner", balance: 7)
  model.transaction do
    model.find(90).update!(balance: 8)
    refused("42501") do
      model.transaction(requires_new: true) { model.create!(tenant_id: other, id: 91, owner: "foreign", balance: 1) }
    end
    same(8, model.find(90).balance)
  end
  refused("42501") { model.create!(tenant_id: other, id: 91, owner: "foreign", balance: 1) }
  same(0, model.where(tenant_id: other).update_all(balance: 0))
  refused("22012") do
    model.transaction do
      model.find(90).destroy!
      model.connection.select_value("SELECT 1 / 0")
    end
  end
  model.transaction do
    model.find(90).destroy!
    raise ActiveRecord::Rollback
  end
  model.transaction(isolation: :serializable) { same(8, model.find(90).balance) }
  same("read committed", model.connection.select_value("SHOW transaction_isolation"))
  same(1, model.where(id: 90).delete_all)
end

def many(model, tenant, rows)
  added = (1000...1300).map { |id| { tenant_id: tenant, id: id, owner: "many", balance: id } }
  same(300, model.insert_all(added, unique_by: %i[tenant_id id], returning: %w[id]).rows.size)
  seen = []
  model.find_each(batch_size: 100) { |account| seen << account.tenant_id }
  same([tenant] * (rows + 300), seen)
  same(300, model.where("id >= ?", 1000).delete_all)
  large = model.connection.select_all("SELECT n, repeat('x', 20) AS text FROM generate_series(1, 200000) n")
  same(20_000_100_000, large.rows.sum(&:first))
  same(%w[accounts payments staging], model.connection.tables.sort)
end

# The pool asks whether a connection is there, opens it again, and prepares anew.
def reconnects(model, rows)
  connection = model.connection
  same(true, connection.active?)
  model.find(1)
  connection.reconnect!
  same(rows, model.find(1) && model.count)
  connection.reset!
  same(rows, model.find(1) && model.count)
  same("iso_8601", connection.select_value("SHOW intervalstyle"))
  connection.verify!
  model.connection_pool.disconnect!
  same(rows, model.find(1) && model.count)
end

def turned_away(tenant, other)
  [TENANTS[other][0], "#{TENANTS[tenant][0]}x", "secret"].each do |password|
    accounts(tenant, password: password).count
    raise "it was not turned away"
  rescue ActiveRecord::ConnectionNotEstablished => error
    raise unless error.message.include?("layer=guard reason=") && error.message.include?("HINT")
  end
end

# What migrations would do is refused, before anything is done.
def ddl(model)
  refused("42501") { model.connection.create_table(:made) { |table| table.string :tenant_id } }
end

[true, false].each do |prepared|
  models = TENANTS.keys.to_h { |tenant| [tenant, accounts(tenant, prepared_statements: prepared)] }
  shared(models)
  models.each do |tenant, model|
    _, rows, other = TENANTS[tenant]
    same([tenant] * rows, model.order(:id).map(&:tenant_id))
    writes(model, tenant, other)
    many(model, tenant, rows)
    reconnects(model, rows)
    ddl(model)
    turned_away(tenant, other)
  end
end
# One that leaves in the middle of a transaction, and without a word.
left = accounts("acme")
left.connection.begin_db_transaction
left.connection.execute("INSERT INTO accounts VALUES ('acme', 95, 'unfinished', 1)")
exit!(0)
