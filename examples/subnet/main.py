# Python, with the host's python3, or that of an imported root file system (root: NAME in op.yaml).
import ipaddress
import json
import sys

with open("/op/input.json", encoding="utf-8") as file:
    inputs = json.load(file)

try:
    network = ipaddress.ip_network(inputs["network"], strict=False)
    address = ipaddress.ip_address(inputs["address"]) if "address" in inputs else None
except ValueError as error:
    sys.exit(f"That is none: {error}")

print(f"{network}: {network.num_addresses} addresses, {network[0]} to {network[-1]}")
if address is not None:
    print(f"{address} is {'in it' if address in network else 'not in it'}.")
    sys.exit(0 if address in network else 1)
