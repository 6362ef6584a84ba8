"""Asks for the policy stores of an access key; prints the error's code, or how many there are.

usage: ask.py <endpoint> <access key id> <secret>
"""

import sys

import boto3
import botocore.exceptions

endpoint, key, secret = sys.argv[1:]
client = boto3.client(
    "verifiedpermissions",
    endpoint_url=endpoint,
    region_name="eu-central-1",
    aws_access_key_id=key,
    aws_secret_access_key=secret,
)
try:
    print(len(client.list_policy_stores()["policyStores"]))
except botocore.exceptions.ClientError as error:
    print(error.response["Error"]["Code"])
