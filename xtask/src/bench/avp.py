"""Questions and bombs for the policy service, signed beforehand, as a file for wrk; and the stores they are about.

SigV4 as in "Create a signed AWS API request" of the IAM user guide: a signature is good for five minutes, so a set of
requests is signed just before it is sent.
"""

import datetime
import hashlib
import hmac
import http.client
import json
import sys
import time

KIND = "application/x-amz-json-1.0"
SCOPE = "local/verifiedpermissions/aws4_request"
SIGNED = "content-type;host;x-amz-date;x-amz-target"


class Key:
    def __init__(self, host, key_id, secret):
        self.host, self.key_id, self.secret = host, key_id, secret

    def headers(self, operation, body):
        now = datetime.datetime.now(datetime.timezone.utc)
        time, date = now.strftime("%Y%m%dT%H%M%SZ"), now.strftime("%Y%m%d")
        target = f"VerifiedPermissions.{operation}"
        canonical = (
            f"POST\n/\n\ncontent-type:{KIND}\nhost:{self.host}\nx-amz-date:{time}\nx-amz-target:{target}\n\n"
            f"{SIGNED}\n{hashlib.sha256(body).hexdigest()}"
        )
        scope = f"{date}/{SCOPE}"
        words = f"AWS4-HMAC-SHA256\n{time}\n{scope}\n{hashlib.sha256(canonical.encode()).hexdigest()}"
        key = f"AWS4{self.secret}".encode()
        for part in scope.split("/"):
            key = hmac.new(key, part.encode(), hashlib.sha256).digest()
        signature = hmac.new(key, words.encode(), hashlib.sha256).hexdigest()
        return {
            "Host": self.host,
            "Content-Type": KIND,
            "X-Amz-Date": time,
            "X-Amz-Target": target,
            "Authorization": f"AWS4-HMAC-SHA256 Credential={self.key_id}/{scope}, SignedHeaders={SIGNED}, "
            f"Signature={signature}",
        }


def policy(number):
    """Policies as stores have them: by role, by user, by payment, and forbids among them; in Cedar 2's words."""
    view = 'Action::"ViewPayment"'
    within = "when { principal.tenant == resource.tenant }"
    return [
        f'permit (principal in Role::"role-{number}", action == {view}, resource) {within};',
        f'permit (principal == User::"user-{number}", action in [Action::"ListPayments", {view}], resource);',
        f'permit (principal, action == {view}, resource == Payment::"payment-{number}") {within};',
        f'forbid (principal == User::"user-{number}", action == Action::"RefundPayment", resource) '
        "when { resource has created_by && resource.created_by == principal.subject };",
        f'permit (principal in Role::"role-{number}", action in [Action::"ListAccounts", '
        'Action::"ListPayments"], resource == Book::"book");',
    ][number % 5]


def names(number, policies):
    """Principal, role and resource of a question that one policy permits; or none, where it is negative."""
    if number < 0:
        return f"nobody-{-number}", "nothing", f"p-{-number}", None
    at = number % policies
    at -= at % 5 if at % 5 > 2 else 0
    user = f"user-{at}" if at % 5 == 1 else f"u-{number}"
    payment = f"payment-{at}" if at % 5 == 2 else f"p-{number}"
    return user, f"role-{at}" if at % 5 == 0 else "staff", payment, at


def asked(number, policies, store):
    """The question to Verified Permissions, and the policy that permits it."""
    user, role, payment, at = names(number, policies)
    named = lambda kind, name: {"entityType": kind, "entityId": name}
    tenant = {"tenant": {"string": "acme"}}
    entities = [
        {
            "identifier": named("User", user),
            "attributes": {**tenant, "subject": {"string": user}},
            "parents": [named("Role", role)],
        },
        {"identifier": named("Role", role)},
        {"identifier": named("Payment", payment), "attributes": tenant},
    ]
    question = {
        "policyStoreId": store,
        "principal": named("User", user),
        "action": {"actionType": "Action", "actionId": "ViewPayment"},
        "resource": named("Payment", payment),
        "entities": {"entityList": entities},
    }
    return json.dumps(question).encode(), at


def agent_asked(number, policies):
    """The same question to cedar-agent."""
    user, role, payment, at = names(number, policies)
    uid = lambda kind, name: {"type": kind, "id": name}
    entities = [
        {
            "uid": uid("User", user),
            "attrs": {"tenant": "acme", "subject": user},
            "parents": [uid("Role", role)],
        },
        {"uid": uid("Role", role), "attrs": {}, "parents": []},
        {"uid": uid("Payment", payment), "attrs": {"tenant": "acme"}, "parents": []},
    ]
    question = {
        "principal": f'User::"{user}"',
        "action": 'Action::"ViewPayment"',
        "resource": f'Payment::"{payment}"',
        "context": {},
        "entities": entities,
    }
    return json.dumps(question).encode(), at


def call(connection, key, operation, question):
    body = question if isinstance(question, bytes) else json.dumps(question).encode()
    connection.request("POST", "/", body, key.headers(operation, body))
    answer = connection.getresponse()
    told = json.loads(answer.read() or b"{}")
    if told.get("__type") == "ThrottlingException":
        time.sleep(0.1)
        return call(connection, key, operation, question)
    if answer.status != 200:
        raise SystemExit(f"{operation}: {answer.status} {told}")
    return told


def fill(connection, key, statements):
    """A store with these policies; gives its id and the policies'."""
    made = call(connection, key, "CreatePolicyStore", {"validationSettings": {"mode": "OFF"}})
    store, ids = made["policyStoreId"], []
    for statement in statements:
        definition = {"static": {"statement": statement}}
        created = call(connection, key, "CreatePolicy", {"policyStoreId": store, "definition": definition})
        ids.append(created["policyId"])
    return store, ids


def check(connection, key, agent, store, ids, questions):
    """Every question once, and as many that must be denied, of both: the same answers, by the same policies."""
    count = len(ids)
    other = http.client.HTTPConnection(agent)
    for number in [*range(questions), *range(-questions, 0)]:
        question, at = asked(number, count, store)
        told = call(connection, key, "IsAuthorized", question)
        by = [found["policyId"] for found in told["determiningPolicies"]]
        expected = ("DENY", []) if at is None else ("ALLOW", [ids[at]])
        if (told["decision"], by) != expected or told["errors"]:
            raise SystemExit(f"question {number} was answered {told}, not {expected}")
        question, at = agent_asked(number, count)
        other.request("POST", "/v1/is_authorized", question, {"Content-Type": "application/json"})
        told = json.loads(other.getresponse().read())
        expected = ("Deny", []) if at is None else ("Allow", [f"p{at}"])
        if (told["decision"], told["diagnostics"]["reason"]) != expected or told["diagnostics"]["errors"]:
            raise SystemExit(f"question {number} was answered {told} by cedar-agent, not {expected}")


def raw(path, headers, body):
    head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"POST {path} HTTP/1.1\r\n{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


def write(path, requests):
    """As a Lua table of strings."""
    with open(path, "wb") as file:
        file.write(b"requests = {\n")
        for request in requests:
            quoted = request.replace(b"\\", b"\\\\").replace(b'"', b'\\"')
            file.write(b'"' + quoted.replace(b"\r\n", b"\\r\\n").replace(b"\n", b"\\n") + b'",\n')
        file.write(b"}\n")


def bombs(kind, key, serving, many):
    """Requests of one kind that are made to hurt."""
    within = (
        'permit (principal, action == Ledger::Action::"ViewPayment", resource) when '
        "{ principal.tenant == resource.tenant && resource has amount && "
    )
    written = lambda condition: (
        "CreatePolicy",
        {"policyStoreId": serving, "definition": {"static": {"statement": f"{within}{condition} }};"}}},
    )
    if kind == "nested":
        made = [
            written(f"{'(' * 4800}true{')' * 4800}"),
            written(f"{'[' * 4800}true{']' * 4800}"),
            written(f"{'if true then false else ' * 400}true"),
        ]
    elif kind == "proofs":
        sums = lambda number: "(if resource.amount < 3 then 1 else 2) + " * 60 + f"{number} < 3"
        made = [written(sums(number)) for number in range(64)]
    elif kind == "policies":
        made = [("IsAuthorized", json.loads(asked(number, 1, many)[0])) for number in range(64)]
    else:
        # As many values as there can be in so many bytes, for each costs more than its bytes.
        entity = lambda number: {
            "identifier": {"entityType": "User", "entityId": f"u-{number}"},
            "attributes": {"values": {"set": [{"long": value} for value in range(780)]}},
        }
        question = json.loads(asked(0, 1, many)[0])
        question["entities"] = {"entityList": [entity(number) for number in range(90)]}
        made = [("IsAuthorized", question)]
    for operation, question in made:
        body = json.dumps(question, separators=(",", ":")).encode()
        yield raw("/", key.headers(operation, body), body)


def main():
    task, host, key_id, secret, *rest = sys.argv[1:]
    key, connection = Key(host, key_id, secret), http.client.HTTPConnection(host)
    if task == "policies":
        path, count = rest
        with open(path, "w") as file:
            json.dump([{"id": f"p{at}", "content": policy(at)} for at in range(int(count))], file)
    elif task == "fill":
        agent, count, questions = rest
        store, ids = fill(connection, key, [policy(at) for at in range(int(count))])
        check(connection, key, agent, store, ids, int(questions))
        print(store)
    elif task == "many":
        (count,) = rest
        # Short, for a tier bounds the bytes of all that are about any resource.
        number = lambda at: f"permit(principal,action,resource)when{{{at}<0}};"
        print(fill(connection, key, [number(at) for at in range(int(count))])[0])
    elif task == "sign":
        path, store, count, questions = rest
        bodies = (asked(number, int(count), store)[0] for number in range(int(questions)))
        write(path, (raw("/", key.headers("IsAuthorized", body), body) for body in bodies))
    elif task == "agent":
        path, agent, count, questions = rest
        headers = {"Host": agent, "Content-Type": "application/json"}
        bodies = (agent_asked(number, int(count))[0] for number in range(int(questions)))
        write(path, (raw("/v1/is_authorized", headers, body) for body in bodies))
    elif task == "bombs":
        path, kind, serving, many = rest
        write(path, bombs(kind, key, serving, many))
    else:
        raise SystemExit(f"{task} is no task")


main()
