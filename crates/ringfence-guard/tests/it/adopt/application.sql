DROP TABLE payments, accounts, staging;
DELETE FROM ringfence.protected;
CREATE SCHEMA "Other-App";
CREATE TABLE plans (id int PRIMARY KEY, name text NOT NULL UNIQUE);
CREATE TABLE organizations (id bigserial PRIMARY KEY, slug text NOT NULL UNIQUE, plan_id int NOT NULL REFERENCES plans);
CREATE TABLE users (id uuid PRIMARY KEY DEFAULT gen_random_uuid(), organization_id bigint NOT NULL REFERENCES organizations ON DELETE CASCADE,
    email text NOT NULL, deleted_at timestamptz, CONSTRAINT users_email_key UNIQUE (email) WITH (fillfactor = 80));
CREATE UNIQUE INDEX users_alive ON users (lower(email) COLLATE "C" text_pattern_ops DESC NULLS LAST, (deleted_at IS NULL))
    INCLUDE (id) NULLS NOT DISTINCT WHERE deleted_at IS NULL AND email <> ' WHERE ) "USING" (';
ALTER INDEX users_alive ALTER COLUMN 1 SET STATISTICS 77;
COMMENT ON INDEX users_alive IS 'only who is there; it''s';
COMMENT ON CONSTRAINT users_email_key ON users IS 'one mail, one user';
CREATE TABLE projects (id uuid DEFAULT gen_random_uuid(), organization_id bigint NOT NULL REFERENCES organizations,
    owner_id uuid CONSTRAINT "the owner" REFERENCES users ON DELETE SET NULL ON UPDATE CASCADE,
    parent_id uuid, name text NOT NULL, code int, CONSTRAINT "projects' key" PRIMARY KEY (id), UNIQUE (organization_id, name), UNIQUE (code, id),
    FOREIGN KEY (parent_id) REFERENCES projects ON DELETE SET NULL (parent_id));
COMMENT ON CONSTRAINT "the owner" ON projects IS 'may leave';
ALTER TABLE projects CLUSTER ON "projects' key";
ALTER TABLE projects ALTER COLUMN name SET STATISTICS 500;
CREATE TABLE tasks (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, project_id uuid NOT NULL REFERENCES projects ON DELETE CASCADE
    DEFERRABLE INITIALLY DEFERRED, assignee uuid REFERENCES users (id), title text NOT NULL, updates int NOT NULL DEFAULT 0);
CREATE FUNCTION counted() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN NEW.updates := OLD.updates + 1; RETURN NEW; END$$;
CREATE TRIGGER counted BEFORE UPDATE ON tasks FOR EACH ROW EXECUTE FUNCTION counted();
CREATE TABLE "Weird Table" ("Id" int PRIMARY KEY, "task id" bigint NOT NULL REFERENCES tasks, "order" text, code int,
    project uuid, FOREIGN KEY (code, project) REFERENCES projects (code, id) MATCH SIMPLE,
    CONSTRAINT "a ""quoted"" one" UNIQUE ("order") DEFERRABLE INITIALLY DEFERRED);
CREATE TABLE project_members (project_id uuid NOT NULL REFERENCES projects ON DELETE CASCADE,
    user_id uuid NOT NULL REFERENCES users ON DELETE CASCADE, PRIMARY KEY (project_id, user_id));
CREATE TABLE "Other-App"."select" ("from" bigint NOT NULL, organization_id bigint NOT NULL REFERENCES organizations, "table" text NOT NULL);
CREATE UNIQUE INDEX "where" ON "Other-App"."select" ("from");
ALTER TABLE "Other-App"."select" REPLICA IDENTITY USING INDEX "where";
CREATE TABLE a_table_whose_name_is_as_long_as_postgres_lets_a_name_become_ok (
    id int PRIMARY KEY, project_id uuid NOT NULL CONSTRAINT a_foreign_key_whose_name_is_as_long_as_postgres_lets_it_becomes REFERENCES projects);
CREATE TABLE "line
DROP TABLE users; --" (id int PRIMARY KEY, project_id uuid NOT NULL REFERENCES projects);
CREATE TABLE "$sql$ '\gexec "" \\ :x" ("$sql" int, "$sql_$', -- ""
\\! echo" uuid NOT NULL CONSTRAINT "$sql$); DROP TABLE users; --" REFERENCES projects, CONSTRAINT "\echo $sql" PRIMARY KEY ("$sql"));
COMMENT ON CONSTRAINT "\echo $sql" ON "$sql$ '\gexec "" \\ :x" IS '$sql$; DROP TABLE users';
CREATE TABLE invoices (number int PRIMARY KEY, tenant_id text NOT NULL REFERENCES organizations (slug), code int UNIQUE);
CREATE TABLE shipments (id int PRIMARY KEY, project_id uuid NOT NULL, carrier text);
CREATE TABLE log_lines (project_id uuid NOT NULL REFERENCES projects, line text);
CREATE TABLE exports (id int PRIMARY KEY, tenant_id text, organization_id bigint NOT NULL REFERENCES organizations);
CREATE TABLE holidays (id int PRIMARY KEY, day date);
CREATE TABLE places (id int PRIMARY KEY, organization_id bigint NOT NULL REFERENCES organizations, place int NOT NULL,
    UNIQUE (organization_id, place) DEFERRABLE);
CREATE TABLE comments (id int PRIMARY KEY, task_id bigint REFERENCES tasks, project_id uuid REFERENCES projects, text text);
CREATE INDEX comments_task ON comments (task_id) INCLUDE (id) WHERE text <> ' INDEX ';
CREATE INDEX "comments' text" ON comments (lower(text) text_pattern_ops DESC, (project_id IS NULL)) WITH (fillfactor = 70);
ALTER INDEX "comments' text" ALTER COLUMN 1 SET STATISTICS 66;
COMMENT ON INDEX "comments' text" IS 'found by it';
CREATE INDEX comments_hashed ON comments USING hash (text);
CREATE INDEX comments_searched ON comments USING gin (to_tsvector('simple', text));
CREATE STATISTICS comments_of_two (ndistinct) ON task_id, project_id FROM comments;
ALTER STATISTICS comments_of_two SET STATISTICS 55;

INSERT INTO plans VALUES (1, 'free'), (2, 'paid');
INSERT INTO organizations (slug, plan_id) VALUES ('acme', 1), ('globex', 2);
INSERT INTO users (organization_id, email) SELECT o.id, o.slug || n FROM organizations o, generate_series(1, 5) n;
INSERT INTO projects (organization_id, owner_id, name, code) SELECT u.organization_id, u.id, u.email, 7 FROM users u;
UPDATE projects p SET parent_id = (SELECT min(q.id::text)::uuid FROM projects q WHERE q.organization_id = p.organization_id);
INSERT INTO tasks (project_id, assignee, title) SELECT p.id, p.owner_id, p.name || n FROM projects p, generate_series(1, 300) n;
INSERT INTO "Weird Table" SELECT t.id, t.id, t.title, 7, t.project_id FROM tasks t;
INSERT INTO project_members SELECT id, owner_id FROM projects;
INSERT INTO "Other-App"."select" SELECT id, id, slug FROM organizations;
INSERT INTO a_table_whose_name_is_as_long_as_postgres_lets_a_name_become_ok SELECT row_number() OVER (), id FROM projects;
INSERT INTO "line
DROP TABLE users; --" SELECT row_number() OVER (), id FROM projects;
INSERT INTO "$sql$ '\gexec "" \\ :x" SELECT row_number() OVER (), id FROM projects;
INSERT INTO invoices SELECT id, slug, id FROM organizations;
INSERT INTO shipments SELECT row_number() OVER (), id, 'post' FROM projects;
INSERT INTO log_lines SELECT id, name FROM projects;
INSERT INTO places SELECT n, 1 + n % 2, n FROM generate_series(1, 20) n;
INSERT INTO exports SELECT id, NULL, id FROM organizations;
INSERT INTO comments SELECT row_number() OVER (), id, NULL, title FROM tasks LIMIT 20;
INSERT INTO comments SELECT 1000 + row_number() OVER (), NULL, id, name FROM projects;
