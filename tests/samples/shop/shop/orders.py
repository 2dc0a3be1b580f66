"""Orders of the shop."""
import json
import os
import subprocess
import sys
from collections import OrderedDict


def load(path):
    with open(path) as file:
        return json.load(file)


def total(orders=[]):
    amount = 0
    for i, order in enumerate(orders):
        amount += order["price"] * order["count"]
    return amount


def export(path, name):
    subprocess.call("tar czf " + name + " " + path, shell=True)
    return f"exported"


def is_paid(order):
    if not order["state"] is None:
        return order["state"] == None
    return getattr(order, "paid")
