"""Every operation of the policy service, with the SDK people use, against a demo that runs.

usage: scenario.py <demo.json> <model.json>

Fails where an answer or an error is not what the service promises, and where an operation of the SDK's model was not
called. Prints how many calls were made and checks held.
"""

import base64
import collections
import datetime
import hashlib
import json
import re
import secrets
import sys
import urllib.error
import urllib.parse
import urllib.request

import boto3
import botocore.auth
import botocore.awsrequest
import botocore.client
import botocore.config
import botocore.credentials
import botocore.exceptions
import botocore.httpsession

import model

CALLS = collections.Counter()
CHECKS = 0

SCHEMA = {
    "Photos": {
        "entityTypes": {
            "User": {"memberOfTypes": ["Group"], "shape": {"type": "Record", "attributes": {}}},
            "Group": {"memberOfTypes": []},
            "Album": {"memberOfTypes": []},
            "Photo": {
                "memberOfTypes": ["Album"],
                "shape": {"type": "Record", "attributes": {"private": {"type": "Boolean", "required": False}}},
            },
        },
        "actions": {
            "read": {},
            "view": {
                "memberOf": [{"id": "read"}],
                "appliesTo": {"principalTypes": ["User"], "resourceTypes": ["Photo"]},
            },
            "edit": {"appliesTo": {"principalTypes": ["User"], "resourceTypes": ["Photo"]}},
        },
    }
}

VIEW = 'permit (principal in Photos::Group::"family", action in Photos::Action::"read", resource);'
PRIVATE = 'forbid (principal, action, resource is Photos::Photo) when { resource has private && resource.private };'
SHARE = 'permit (principal == ?principal, action == Photos::Action::"edit", resource in ?resource);'


def client(demo, key, region="eu-central-1"):
    """A client of boto3; it counts what is called."""
    made = boto3.client(
        "verifiedpermissions",
        endpoint_url=demo["api"],
        region_name=region,
        aws_access_key_id=key["id"],
        aws_secret_access_key=key["secret"],
        config=botocore.config.Config(retries={"max_attempts": 1}),
    )
    made.meta.events.register("before-call.*.*", lambda model, **_: CALLS.update([model.name]))
    return made


def check(condition, what):
    """Fails the scenario where something does not hold."""
    global CHECKS
    CHECKS += 1
    if not condition:
        raise AssertionError(what)


def refused(name, call, **fields):
    """Calls what must fail with this error, and these typed fields."""
    try:
        answer = call()
    except botocore.exceptions.ClientError as error:
        found = error.response
        check(found["Error"]["Code"] == name, f"{found['Error']} is not {name}")
        wanted = 500 if name == "InternalServerException" else 400
        check(found["ResponseMetadata"]["HTTPStatusCode"] == wanted, found)
        for field, value in fields.items():
            check(found.get(field) == value, f"{field} is not {value}: {found}")
        return found
    raise AssertionError(f"answered {answer}, not {name}")


class NoRedirect(urllib.request.HTTPRedirectHandler):
    """Redirects are answers: the code is in them."""

    def redirect_request(self, *_):
        return None


def sign_in(tenant, user):
    """Signs in as a person does (authorization code with PKCE); gives the access token and the ID token."""
    opener = urllib.request.build_opener(NoRedirect)
    callback = "http://127.0.0.1/callback"
    verifier = secrets.token_urlsafe(32)
    challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()
    asked = {
        "response_type": "code", "client_id": "ringfence-cli", "redirect_uri": callback, "scope": "openid",
        "state": "s", "code_challenge": challenge, "code_challenge_method": "S256",
    }
    with opener.open(f"{tenant['issuer']}/authorize?{urllib.parse.urlencode(asked)}") as answer:
        ticket = re.search(r'name="ticket" value="([^"]+)"', answer.read().decode()).group(1)
    form = {"ticket": ticket, "username": user["username"], "password": user["password"]}
    try:
        opener.open(f"{tenant['issuer']}/sign-in", urllib.parse.urlencode(form).encode())
        raise AssertionError("no redirect after signing in")
    except urllib.error.HTTPError as redirect:
        location = redirect.headers["Location"]
    code = urllib.parse.parse_qs(urllib.parse.urlparse(location).query)["code"][0]
    spend = {
        "grant_type": "authorization_code", "client_id": "ringfence-cli", "redirect_uri": callback, "code": code,
        "code_verifier": verifier,
    }
    with opener.open(f"{tenant['issuer']}/token", urllib.parse.urlencode(spend).encode()) as answer:
        found = json.load(answer)
    return found["access_token"], found["id_token"]


def uid(kind, name):
    return {"entityType": f"Photos::{kind}", "entityId": name}


def action(name):
    return {"actionType": "Photos::Action", "actionId": name}


def stores(avp):
    """Stores, schema, tags and aliases; gives a store with the schema, STRICT."""
    made = avp.create_policy_store(
        validationSettings={"mode": "STRICT"}, description="photos", tags={"team": "media"}, clientToken="photos-1"
    )
    store = made["policyStoreId"]
    check(isinstance(made["createdDate"], datetime.datetime), "a time that boto3 reads")
    again = avp.create_policy_store(
        validationSettings={"mode": "STRICT"}, description="photos", tags={"team": "media"}, clientToken="photos-1"
    )
    check(again["policyStoreId"] == store, "the same client token is the same store")
    refused(
        "ConflictException",
        lambda: avp.create_policy_store(validationSettings={"mode": "OFF"}, clientToken="photos-1"),
        resources=[],
    )
    refused("ResourceNotFoundException", lambda: avp.get_schema(policyStoreId=store), resourceType="SCHEMA")
    refused(
        "ValidationException",
        lambda: avp.create_policy(policyStoreId=store, definition={"static": {"statement": VIEW}}),
    )
    put = avp.put_schema(policyStoreId=store, definition={"cedarJson": json.dumps(SCHEMA)})
    check(put["namespaces"] == ["Photos"], put)
    check(json.loads(avp.get_schema(policyStoreId=store)["schema"]) == SCHEMA, "the schema as it was put")
    refused(
        "ValidationException",
        lambda: avp.put_schema(policyStoreId=store, definition={"cedarJson": '{"Photos": 1}'}),
    )
    shown = avp.get_policy_store(policyStoreId=store, tags=True)
    check(shown["validationSettings"] == {"mode": "STRICT"}, shown)
    check(shown["tags"] == {"team": "media"} and shown["description"] == "photos", shown)
    check(shown["cedarVersion"] == "CEDAR_4" and "default" in shown["encryptionState"], shown)
    arn = shown["arn"]
    avp.tag_resource(resourceArn=arn, tags={"stage": "test", "team": "video"})
    check(avp.list_tags_for_resource(resourceArn=arn)["tags"] == {"team": "video", "stage": "test"}, "tags")
    avp.untag_resource(resourceArn=arn, tagKeys=["stage", "unknown"])
    check(avp.list_tags_for_resource(resourceArn=arn)["tags"] == {"team": "video"}, "tags")
    many = {f"k{number}": "v" for number in range(50)}
    refused("TooManyTagsException", lambda: avp.tag_resource(resourceArn=arn, tags=many), resourceName=arn)
    return store


def aliases(avp, store):
    """Aliases with soft and hard delete."""
    name = "policy-store-alias/photos"
    made = avp.create_policy_store_alias(aliasName=name, policyStoreId=store)
    check(avp.create_policy_store_alias(aliasName=name, policyStoreId=store)["createdAt"] == made["createdAt"], "once")
    check(avp.get_policy_store(policyStoreId=name)["policyStoreId"] == store, "an alias names its store")
    other = avp.create_policy_store(validationSettings={"mode": "OFF"})["policyStoreId"]
    conflict = refused(
        "ConflictException", lambda: avp.create_policy_store_alias(aliasName=name, policyStoreId=other)
    )
    check(conflict["resources"] == [{"resourceId": name, "resourceType": "POLICY_STORE_ALIAS"}], conflict)
    for number in range(6):
        avp.create_policy_store_alias(aliasName=f"policy-store-alias/more/{number}", policyStoreId=other)
    pages = avp.get_paginator("list_policy_store_aliases").paginate(PaginationConfig={"PageSize": 2})
    names = [alias["aliasName"] for page in pages for alias in page["policyStoreAliases"]]
    check(len(names) == 7 and names == sorted(set(names)), names)
    only = avp.list_policy_store_aliases(filter={"policyStoreId": store})["policyStoreAliases"]
    check([alias["aliasName"] for alias in only] == [name], only)
    avp.delete_policy_store_alias(aliasName=name)
    check(avp.get_policy_store_alias(aliasName=name)["state"] == "PendingDeletion", "soft delete")
    refused("ResourceNotFoundException", lambda: avp.get_policy_store(policyStoreId=name), resourceId=name)
    refused("ConflictException", lambda: avp.create_policy_store_alias(aliasName=name, policyStoreId=store))
    avp.delete_policy_store_alias(aliasName=name, deletionMode="HardDelete")
    avp.delete_policy_store_alias(aliasName=name, deletionMode="HardDelete")
    refused("ResourceNotFoundException", lambda: avp.get_policy_store_alias(aliasName=name))
    check(avp.create_policy_store_alias(aliasName=name, policyStoreId=other)["policyStoreId"] == other, "switched")
    check(avp.get_policy_store(policyStoreId=name)["policyStoreId"] == other, "the very next request sees it")
    avp.delete_policy_store_alias(aliasName=name, deletionMode="HardDelete")
    avp.update_policy_store(
        policyStoreId=other, validationSettings={"mode": "OFF"}, deletionProtection="ENABLED", description="kept"
    )
    refused("InvalidStateException", lambda: avp.delete_policy_store(policyStoreId=other))
    avp.update_policy_store(policyStoreId=other, validationSettings={"mode": "OFF"}, deletionProtection="DISABLED")
    avp.delete_policy_store(policyStoreId=other)
    avp.delete_policy_store(policyStoreId=other)
    refused("ResourceNotFoundException", lambda: avp.get_policy_store(policyStoreId=other), resourceId=other)
    check(avp.list_policy_store_aliases()["policyStoreAliases"] == [], "aliases go with their store")


def policies(avp, store):
    """Static and template-linked policies, names, filters, pages."""
    static = avp.create_policy(
        policyStoreId=store, definition={"static": {"statement": VIEW, "description": "family"}}, name="name/family"
    )
    check(static["effect"] == "Permit" and static["policyType"] == "STATIC", static)
    check(static["principal"] == uid("Group", "family") and "resource" not in static, static)
    check(static["actions"] == [action("read")], static)
    forbid = avp.create_policy(policyStoreId=store, definition={"static": {"statement": PRIVATE}})
    refused(
        "ConflictException",
        lambda: avp.create_policy(
            policyStoreId=store, definition={"static": {"statement": PRIVATE}}, name="name/family"
        ),
    )
    unfit = refused(
        "ValidationException",
        lambda: avp.create_policy(
            policyStoreId=store,
            definition={"static": {"statement": "permit (principal, action, resource) when { resource.colour == 1 };"}},
        ),
    )
    check(unfit["fieldList"] and "colour" in unfit["fieldList"][0]["message"], unfit)
    template = avp.create_policy_template(
        policyStoreId=store, statement=SHARE, description="share", name="name/share", clientToken="t-1"
    )["policyTemplateId"]
    linked = avp.create_policy(
        policyStoreId=store,
        definition={
            "templateLinked": {
                "policyTemplateId": "name/share",
                "principal": uid("User", "bob"),
                "resource": uid("Album", "trip"),
            }
        },
    )
    check(linked["policyType"] == "TEMPLATE_LINKED" and linked["principal"] == uid("User", "bob"), linked)
    found = avp.get_policy(policyStoreId=store, policyId="name/family")
    check(found["policyId"] == static["policyId"], found)
    check(found["definition"]["static"] == {"statement": VIEW, "description": "family"}, found)
    batch = avp.batch_get_policy(
        requests=[
            {"policyStoreId": store, "policyId": static["policyId"]},
            {"policyStoreId": store, "policyId": "SPnone"},
            {"policyStoreId": "PSnone", "policyId": "SPnone"},
            {"policyStoreId": "policy-store-alias/none", "policyId": "SPnone"},
        ]
    )
    check([item["policyId"] for item in batch["results"]] == [static["policyId"]], batch)
    codes = [item["code"] for item in batch["errors"]]
    check(codes == ["POLICY_NOT_FOUND", "POLICY_STORE_NOT_FOUND", "POLICY_STORE_ALIAS_NOT_FOUND"], codes)
    refused("ResourceNotFoundException", lambda: avp.get_policy(policyStoreId=store, policyId="SPnone"),
            resourceId="SPnone", resourceType="POLICY")

    def listed(**wanted):
        pages = avp.get_paginator("list_policies").paginate(
            policyStoreId=store, PaginationConfig={"PageSize": 1}, **({"filter": wanted} if wanted else {})
        )
        return {item["policyId"] for page in pages for item in page["policies"]}

    everything = {static["policyId"], forbid["policyId"], linked["policyId"]}
    check(listed() == everything, "pages of one")
    check(listed(policyType="STATIC") == {static["policyId"], forbid["policyId"]}, "by type")
    check(listed(policyTemplateId=template) == {linked["policyId"]}, "by template")
    check(listed(principal={"identifier": uid("User", "bob")}) == {linked["policyId"]}, "by principal")
    check(listed(principal={"unspecified": True}) == {forbid["policyId"]}, "without principal")
    check(listed(resource={"identifier": uid("Album", "trip")}) == {linked["policyId"]}, "by resource")
    return static["policyId"], forbid["policyId"], template, linked["policyId"]


def entities():
    return {
        "entityList": [
            {"identifier": uid("User", "ann"), "parents": [uid("Group", "family")]},
            {"identifier": uid("User", "bob")},
            {"identifier": uid("Photo", "sea"), "parents": [uid("Album", "trip")]},
            {
                "identifier": uid("Photo", "diary"),
                "parents": [uid("Album", "trip")],
                "attributes": {"private": {"boolean": True}},
            },
        ]
    }


def decisions(avp, store, ids):
    """Decisions, one and many."""
    static, forbid, template, linked = ids

    def ask(who, what, which, **more):
        answer = avp.is_authorized(
            policyStoreId=store,
            principal=uid("User", who),
            action=action(what),
            resource=uid("Photo", which),
            **{"entities": entities(), **more},
        )
        return answer["decision"], [item["policyId"] for item in answer["determiningPolicies"]]

    check(ask("ann", "view", "sea") == ("ALLOW", [static]), "groups of actions are the schema's")
    check(ask("ann", "view", "diary") == ("DENY", [forbid]), "forbid wins")
    check(ask("ann", "edit", "sea") == ("DENY", []), "the default is deny")
    check(ask("bob", "edit", "sea") == ("ALLOW", [linked]), "a linked policy")
    as_json = [
        {"uid": {"type": "Photos::User", "id": "ann"}, "attrs": {}, "parents": [{"type": "Photos::Group", "id": "family"}]}
    ]
    check(ask("ann", "view", "sea", entities={"cedarJson": json.dumps(as_json)}) == ("ALLOW", [static]), "Cedar's JSON")
    check(ask("ann", "view", "sea", context={"contextMap": {"ip": {"ipaddr": "10.0.0.1"}}})[0] == "ALLOW", "context")
    check(ask("ann", "view", "sea", context={"cedarJson": '{"a": [1, {"b": true}]}'})[0] == "ALLOW", "context")
    duplicate = '[{"uid": {"type": "A", "id": "x", "id": "y"}, "attrs": {}, "parents": []}]'
    refused("ValidationException", lambda: ask("ann", "view", "sea", entities={"cedarJson": duplicate}))
    action_entity = {"entityList": [{"identifier": {"entityType": "Photos::Action", "entityId": "view"}}]}
    refused("ValidationException", lambda: ask("ann", "view", "sea", entities=action_entity))

    def item(who, what, which):
        return {"principal": uid("User", who), "action": action(what), "resource": uid("Photo", which)}

    asked = [item("ann", "view", "sea"), item("ann", "view", "diary"), item("ann", "edit", "sea")]
    batch = avp.batch_is_authorized(policyStoreId=store, entities=entities(), requests=asked)["results"]
    check([result["decision"] for result in batch] == ["ALLOW", "DENY", "DENY"], batch)
    check([result["request"] for result in batch] == asked, "each beside its request")
    mixed = [item("ann", "view", "sea"), item("bob", "view", "diary")]
    refused("ValidationException", lambda: avp.batch_is_authorized(policyStoreId=store, requests=mixed))
    too_many = [item("ann", "view", f"p{number}") for number in range(31)]
    refused("ValidationException", lambda: avp.batch_is_authorized(policyStoreId=store, requests=too_many))


def changes(avp, store, ids):
    """Updates and deletions, each seen by the next request."""
    static, forbid, template, linked = ids

    def bob_edits():
        return avp.is_authorized(
            policyStoreId=store, principal=uid("User", "bob"), action=action("edit"),
            resource=uid("Photo", "sea"), entities=entities(),
        )["decision"]

    narrower = VIEW.replace(";", ' unless { resource in Photos::Album::"closed" };')
    updated = avp.update_policy(
        policyStoreId=store, policyId=static, definition={"static": {"statement": narrower}}, name=""
    )
    check(updated["policyId"] == static, updated)
    shown = avp.get_policy(policyStoreId=store, policyId=static)
    check("name" not in shown and shown["definition"]["static"]["statement"] == narrower, shown)
    for text in (
        VIEW.replace("permit", "forbid"),
        VIEW.replace("family", "friends"),
        VIEW.replace("resource)", 'resource == Photos::Photo::"sea")'),
    ):
        refused(
            "ValidationException",
            lambda text=text: avp.update_policy(
                policyStoreId=store, policyId=static, definition={"static": {"statement": text}}
            ),
        )
    check(bob_edits() == "ALLOW", "before")
    closed = SHARE.replace(";", " when { false };")
    avp.update_policy_template(policyStoreId=store, policyTemplateId=template, statement=closed, description="none")
    check(bob_edits() == "DENY", "links follow their template at once")
    shown = avp.get_policy_template(policyStoreId=store, policyTemplateId=template)
    check(shown["statement"] == closed and shown["name"] == "name/share", shown)
    check([item["policyTemplateId"] for item in avp.list_policy_templates(policyStoreId=store)["policyTemplates"]]
          == [template], "templates")
    without_album = json.loads(json.dumps(SCHEMA))
    del without_album["Photos"]["entityTypes"]["Album"]
    without_album["Photos"]["entityTypes"]["Photo"]["memberOfTypes"] = []
    before = avp.get_schema(policyStoreId=store)["schema"]
    unfit = refused(
        "ValidationException",
        lambda: avp.put_schema(policyStoreId=store, definition={"cedarJson": json.dumps(without_album)}),
    )
    check({fault["path"] for fault in unfit["fieldList"]} >= {static}, unfit)
    check(avp.get_schema(policyStoreId=store)["schema"] == before, "a schema that is refused changes nothing")
    avp.delete_policy_template(policyStoreId=store, policyTemplateId=template)
    refused("ResourceNotFoundException", lambda: avp.get_policy(policyStoreId=store, policyId=linked))
    avp.delete_policy(policyStoreId=store, policyId=forbid)
    avp.delete_policy(policyStoreId=store, policyId=forbid)
    refused("ResourceNotFoundException", lambda: avp.get_policy(policyStoreId=store, policyId=forbid))


def tokens(avp, tenant, others, access, others_access, identity):
    """Decisions about the principal a token proves, at the store that decides the tenant's requests."""
    store = tenant["policy_store_id"]
    source = avp.create_identity_source(
        policyStoreId=store,
        configuration={
            "openIdConnectConfiguration": {
                "issuer": tenant["issuer"],
                "groupConfiguration": {"groupClaim": "roles", "groupEntityType": "Ledger::Role"},
                "tokenSelection": {"accessTokenOnly": {"principalIdClaim": "sub"}},
            }
        },
    )["identitySourceId"]
    refused(
        "ServiceQuotaExceededException",
        lambda: avp.create_identity_source(
            policyStoreId=store,
            configuration={"cognitoUserPoolConfiguration": {
                "userPoolArn": "arn:aws:cognito-idp:us-east-1:123456789012:userpool/us-east-1_1a2b3c4d5"}},
        ),
        resourceType="IDENTITY_SOURCE",
    )
    shown = avp.get_identity_source(policyStoreId=store, identitySourceId=source)
    check(shown["principalEntityType"] == "Ledger::User", shown)
    check(shown["configuration"]["openIdConnectConfiguration"]["issuer"] == tenant["issuer"], shown)

    def ask(token, name="ViewPayment", **more):
        resource = {"entityType": "Ledger::Payment", "entityId": "p-1"}
        asked = {"action": {"actionType": "Ledger::Action", "actionId": name}, "resource": resource}
        return avp.is_authorized_with_token(policyStoreId=store, accessToken=token, **asked, **more)

    answer = ask(access)
    check(answer["decision"] == "ALLOW" and answer["principal"]["entityType"] == "Ledger::User", answer)
    check([item["policyId"] for item in answer["determiningPolicies"]] == ["everyone-reads"], answer)
    check(ask(access, "ConnectDatabase")["decision"] == "ALLOW", "alice is an administrator")
    refused("ValidationException", lambda: ask(others_access))
    for at in (5, len(access) // 2, -5):
        broken = access[:at] + ("A" if access[at] != "A" else "B") + (access[at + 1 :] if at != -1 else "")
        refused("ValidationException", lambda broken=broken: ask(broken))
    for kind, name in (("Ledger::User", answer["principal"]["entityId"]), ("Ledger::Role", "admin")):
        injected = {"entityList": [{"identifier": {"entityType": kind, "entityId": name}}]}
        refused("ValidationException", lambda injected=injected: ask(access, entities=injected))
        as_json = json.dumps([{"uid": {"type": kind, "id": name}, "attrs": {}, "parents": []}])
        refused("ValidationException", lambda as_json=as_json: ask(access, entities={"cedarJson": as_json}))
    spoofed = {"contextMap": {"token": {"record": {"roles": {"set": [{"string": "admin"}]}}}}}
    refused("ValidationException", lambda: ask(access, context=spoofed))
    foreign = {
        "entityList": [
            {
                "identifier": {"entityType": "Ledger::Payment", "entityId": "p-1"},
                "attributes": {"tenant": {"string": others["id"]}},
            }
        ]
    }
    check(ask(access, entities=foreign)["decision"] == "DENY", "another tenant's resource: the guardrail forbids")
    batch = avp.batch_is_authorized_with_token(
        policyStoreId=store,
        accessToken=access,
        requests=[
            {
                "action": {"actionType": "Ledger::Action", "actionId": name},
                "resource": {"entityType": "Ledger::Book", "entityId": "b"},
            }
            for name in ("ListPayments", "Unknown")
        ],
    )
    check([result["decision"] for result in batch["results"]] == ["ALLOW", "DENY"], batch)
    check(batch["principal"] == answer["principal"], batch)
    listed = avp.list_identity_sources(policyStoreId=store, filters=[{"principalEntityType": "Ledger::User"}])
    check([item["identitySourceId"] for item in listed["identitySources"]] == [source], listed)
    none = avp.list_identity_sources(policyStoreId=store, filters=[{"principalEntityType": "Ledger::Client"}])
    check(none["identitySources"] == [], none)
    avp.update_identity_source(
        policyStoreId=store,
        identitySourceId=source,
        updateConfiguration={
            "openIdConnectConfiguration": {
                "issuer": tenant["issuer"],
                "tokenSelection": {"accessTokenOnly": {"audiences": ["https://another.example"]}},
            }
        },
    )
    refused("ValidationException", lambda: ask(access))
    avp.update_identity_source(
        policyStoreId=store,
        identitySourceId=source,
        updateConfiguration={"openIdConnectConfiguration": {
            "issuer": tenant["issuer"], "tokenSelection": {"identityTokenOnly": {}}}},
    )
    refused("ValidationException", lambda: ask(access))
    asked = {
        "action": {"actionType": "Ledger::Action", "actionId": "ViewPayment"},
        "resource": {"entityType": "Ledger::Payment", "entityId": "p-1"},
    }
    shown = avp.is_authorized_with_token(policyStoreId=store, identityToken=identity, **asked)
    check(shown["decision"] == "DENY", "an ID token has no roles")
    broken = identity[:-6] + ("A" if identity[-6] != "A" else "B") + identity[-5:]
    refused(
        "ValidationException",
        lambda: avp.is_authorized_with_token(policyStoreId=store, identityToken=broken, **asked),
    )
    avp.delete_identity_source(policyStoreId=store, identitySourceId=source)
    refused("ResourceNotFoundException",
            lambda: avp.get_identity_source(policyStoreId=store, identitySourceId=source))
    cognito = avp.create_identity_source(
        policyStoreId=store,
        configuration={"cognitoUserPoolConfiguration": {
            "userPoolArn": "arn:aws:cognito-idp:us-east-1:123456789012:userpool/us-east-1_1a2b3c4d5",
            "clientIds": ["app"]}},
    )["identitySourceId"]
    shown = avp.get_identity_source(policyStoreId=store, identitySourceId=cognito)
    check(shown["details"]["openIdIssuer"] == "COGNITO", shown)
    said = {"iss": "https://cognito-idp.us-east-1.amazonaws.com/us-east-1_1a2b3c4d5", "sub": "u", "token_use": "access"}
    pooled = ".".join(
        base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=")
        for part in ({"alg": "RS256", "kid": "k"}, said)
    ) + ".AAAA"
    unlisted = refused("ValidationException", lambda: ask(pooled))
    check("[avp] in ringfence.toml" in unlisted["Error"]["Message"], "what the operator has to set")
    standing = avp.get_policy_store(policyStoreId=store)["ResponseMetadata"]["HTTPHeaders"]["ringfence-standing"]
    check(standing in ("proved", "unproved"), standing)
    avp.delete_identity_source(policyStoreId=store, identitySourceId=cognito)


def serving(avp, tenant):
    """The store that decides the tenant's requests: shown like any other, and kept from what would end it."""
    store = tenant["policy_store_id"]
    listed = [item["policyStoreId"] for page in avp.get_paginator("list_policy_stores").paginate()
              for item in page["policyStores"]]
    check(store in listed, listed)
    refused("InvalidStateException", lambda: avp.delete_policy_store(policyStoreId=store))
    refused("ValidationException",
            lambda: avp.update_policy_store(policyStoreId=store, validationSettings={"mode": "OFF"}))
    refused("ValidationException", lambda: avp.put_schema(policyStoreId=store, definition={"cedarJson": "{}"}))
    ids = [item["policyId"] for page in avp.get_paginator("list_policies").paginate(policyStoreId=store)
           for item in page["policies"]]
    check("everyone-reads" in ids and not any("guardrail" in one for one in ids), ids)
    refused("ValidationException", lambda: avp.get_policy(policyStoreId=store, policyId="ringfence:guardrail"))
    schema = avp.get_schema(policyStoreId=store)
    check(schema["namespaces"] == ["Ledger"], schema)
    avp.put_schema(policyStoreId=store, definition={"cedarJson": schema["schema"]})


def boundaries(demo, avp, tenant, others, store):
    """What another tenant's key sees of a store: nothing, as of one that never was."""
    foreign = client(demo, others["access_key"])
    avp.create_policy_store_alias(aliasName="policy-store-alias/mine", policyStoreId=store)
    for existing, absent in (
        (store, store[:-1] + ("0" if store[-1] != "0" else "1")),
        (tenant["policy_store_id"], "ps-" + "x" * (len(tenant["policy_store_id"]) - 3)),
        ("policy-store-alias/mine", "policy-store-alias/none"),
    ):
        seen = []
        for name in (existing, absent):
            found = refused("ResourceNotFoundException", lambda name=name: foreign.get_policy_store(policyStoreId=name))
            found.pop("ResponseMetadata")
            seen.append(json.dumps(found).replace(name, "NAME"))
        check(seen[0] == seen[1], seen)
    mine, theirs = tenant["policy_store_id"], others["policy_store_id"]
    mixed = foreign.batch_get_policy(
        requests=[{"policyStoreId": name, "policyId": "everyone-reads"} for name in (theirs, mine, "ps-none")]
    )
    check([item["policyStoreId"] for item in mixed["results"]] == [theirs], mixed)
    check([item["code"] for item in mixed["errors"]] == ["POLICY_STORE_NOT_FOUND"] * 2, mixed)
    check(len({item["message"] for item in mixed["errors"]}) == 1, mixed)
    arn = avp.get_policy_store(policyStoreId=mine)["arn"]
    refused("ResourceNotFoundException", lambda: foreign.tag_resource(resourceArn=arn, tags={"a": "b"}))
    check(all(item["policyStoreId"] != store for item in foreign.list_policy_stores()["policyStores"]), "not listed")
    operator = client(demo, demo["operator"]["access_key"])
    check(operator.get_policy_store(policyStoreId=store)["policyStoreId"] == store, "an operator reaches it by its id")
    check(operator.list_policy_stores()["policyStores"] == [], "an operator's own account")
    page = avp.list_policies(policyStoreId=tenant["policy_store_id"], maxResults=1)["nextToken"]
    refused("ValidationException", lambda: foreign.list_policies(policyStoreId=theirs, maxResults=1, nextToken=page))
    refused("ValidationException", lambda: avp.list_policies(policyStoreId=store, maxResults=1, nextToken=page))
    forged = ("A" if page[0] != "A" else "B") + page[1:]
    refused("ValidationException", lambda: avp.list_policies(policyStoreId=mine, maxResults=1, nextToken=forged))


def signatures(demo, tenant):
    """A request whose signature is not of it is not answered, whichever part of it was changed."""
    key, host = tenant["access_key"], demo["api"]
    session = botocore.httpsession.URLLib3Session()

    def send(change=lambda request: None, secret=key["secret"], name=key["id"], service="verifiedpermissions", body=b"{}"):
        headers = {"Content-Type": "application/x-amz-json-1.0", "X-Amz-Target": "VerifiedPermissions.ListPolicyStores"}
        request = botocore.awsrequest.AWSRequest("POST", host + "/", headers=headers, data=body)
        credentials = botocore.credentials.Credentials(name, secret)
        botocore.auth.SigV4Auth(credentials, service, "eu-central-1").add_auth(request)
        change(request)
        answer = session.send(request.prepare())
        return answer.status_code, json.loads(answer.content).get("__type")

    def put(name, value):
        def change(request):
            del request.headers[name]
            request.headers[name] = value
        return change

    def edit(old, new):
        def change(request):
            value = request.headers["Authorization"]
            assert old in value, value
            del request.headers["Authorization"]
            request.headers["Authorization"] = value.replace(old, new)
        return change

    def drop(name):
        def change(request):
            del request.headers[name]
        return change

    def body(data):
        def change(request):
            request.data = data
        return change

    invalid, incomplete = (400, "InvalidSignatureException"), (400, "IncompleteSignatureException")
    check(send() == (200, None), "as it was signed")
    for what, change, wanted in (
        ("body", body(b'{"maxResults": 1}'), invalid),
        ("target", put("X-Amz-Target", "VerifiedPermissions.CreatePolicyStore"), invalid),
        ("content type", put("Content-Type", "application/x-amz-json-1.1"), invalid),
        ("host", put("Host", "verifiedpermissions.eu-central-1.amazonaws.com"), invalid),
        ("region", edit("eu-central-1", "eu-central-2"), invalid),
        ("service", edit("/verifiedpermissions/", "/s3/"), incomplete),
        ("signed headers", edit("content-type;host;", "host;"), incomplete),
        ("host not signed", edit("content-type;host;", "content-type;"), incomplete),
        ("signature", edit("Signature=", "Signature=0"), incomplete),
        ("algorithm", edit("AWS4-HMAC-SHA256", "AWS4-HMAC-SHA1"), (400, "MissingAuthenticationTokenException")),
        ("nothing", drop("Authorization"), (400, "MissingAuthenticationTokenException")),
        ("payload hash", put("X-Amz-Content-SHA256", "UNSIGNED-PAYLOAD"), incomplete),
        ("session", put("X-Amz-Security-Token", "x"), incomplete),
    ):
        found = send(change)
        check(found == wanted, f"{what}: {found}")

    def flip(request):
        value = request.headers["Authorization"]
        del request.headers["Authorization"]
        request.headers["Authorization"] = value[:-1] + ("0" if value[-1] != "0" else "1")

    check(send(flip) == invalid, "one digit")
    last = "y" if key["secret"].endswith("x") else "x"
    check(send(secret=key["secret"][:-1] + last) == invalid, "another secret")
    check(send(name="RFAKNOSUCHKEY") == (400, "UnrecognizedClientException"), "no such key")
    for minutes in (-6, 6):
        now = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(minutes=minutes)
        original = botocore.auth.get_current_datetime
        botocore.auth.get_current_datetime = lambda *_, now=now, **__: now
        try:
            found = send()
        finally:
            botocore.auth.get_current_datetime = original
        check(found == invalid, f"{minutes} minutes: {found}")


def main(demo_path, model_path):
    with open(demo_path, encoding="utf-8") as file:
        demo = json.load(file)
    with open(model_path, encoding="utf-8") as file:
        check(json.load(file) == model.model(), "model.json is not the SDK's: run tests/avp/model.py")
    tenant, others = demo["tenants"][0], demo["tenants"][1]
    access, identity = sign_in(tenant, tenant["users"][0])
    others_access, _ = sign_in(others, others["users"][0])
    avp = client(demo, tenant["access_key"])
    store = stores(avp)
    aliases(avp, store)
    ids = policies(avp, store)
    decisions(avp, store, ids)
    changes(avp, store, ids)
    tokens(avp, tenant, others, access, others_access, identity)
    serving(avp, tenant)
    boundaries(demo, avp, tenant, others, store)
    signatures(demo, tenant)
    missing = set(avp.meta.service_model.operation_names) - set(CALLS)
    check(not missing, f"never called: {sorted(missing)}")
    print(f"{len(CALLS)} operations, {sum(CALLS.values())} calls, {CHECKS} checks")


if __name__ == "__main__":
    main(*sys.argv[1:])
