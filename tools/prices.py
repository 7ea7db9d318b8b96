#!/usr/bin/env python3
"""Refreshes the EC2 part of stack/prices/aws.json from the price list that the apache-libcloud wheel carries.

Usage: tools/prices.py   (with a python that has apache-libcloud)

Kept are the families below, as dollars an hour of their `large`: other sizes are multiples of it. The list has
a few dedicated instances among the shared ones, which are dearer, so the least of a family's sizes counts.
The rest of the file is kept by hand, with its own date.
"""
import datetime
import json
import pathlib

import libcloud

SIZES = {"nano": 1 / 16, "micro": 1 / 8, "small": 1 / 4, "medium": 1 / 2, "large": 1, "xlarge": 2, "2xlarge": 4,
         "4xlarge": 8, "8xlarge": 16, "12xlarge": 24, "16xlarge": 32, "24xlarge": 48}
FAMILIES = """t3 t3a t4g c6a c6g c6gn c6i c7a c7g c7gn c7i c8g m6a m6g m6i m7a m7g m7i m8g r6g r6i r7g r7i r8g""".split()
REGIONS = """us-east-1 us-east-2 us-west-2 ca-central-1 eu-central-1 eu-north-1 eu-west-1 eu-west-2 eu-west-3
ap-northeast-1 ap-southeast-1 ap-southeast-2""".split()


def main():
    listed = json.loads((pathlib.Path(libcloud.__file__).parent / "data/pricing.json").read_text())
    linux = listed["compute"]["ec2_linux"]
    prices = {}
    for region in REGIONS:
        prices[region] = {}
        for family in FAMILIES:
            found = [linux.get(f"{family}.{size}", {}).get(region) or 0 for size in SIZES]
            shares = [price / share for price, share in zip(found, SIZES.values()) if price]
            if shares:
                prices[region][family] = f"{min(shares):.5f}".rstrip("0")
    target = pathlib.Path(__file__).parent.parent / "stack/prices/aws.json"
    table = json.loads(target.read_text())
    table["ec2_date"] = datetime.datetime.fromtimestamp(listed["updated"], datetime.UTC).date().isoformat()
    table["ec2"] = prices
    target.write_text(json.dumps(table, indent=1) + "\n")
    print(f"{len(prices)} regions, {len(FAMILIES)} families, of {table['ec2_date']}")


main()
