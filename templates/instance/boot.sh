#!/bin/sh
# First boot of an instance: its files come from the stack, its program from the release.
set -u
stack='${AWS::StackName}'
tell() {
    code=$?
    /opt/aws/bin/cfn-signal --exit-code "$code" --stack "$stack" --resource {{ group }} --region {{ region }}
}
trap tell EXIT
set -e
dnf install -y -q amazon-cloudwatch-agent aws-cfn-bootstrap logrotate
/opt/aws/bin/cfn-init --stack "$stack" --resource {{ launch_template }} --region {{ region }}
useradd --system --no-create-home --shell /sbin/nologin forebay || true
install -d -o forebay -g forebay -m 0750 /var/log/forebay
/usr/local/sbin/forebay-fetch
/opt/aws/amazon-cloudwatch-agent/bin/amazon-cloudwatch-agent-ctl -a fetch-config -m ec2 -s -c file:/etc/forebay/cloudwatch-agent.json
systemctl daemon-reload
unit={{ binary }}
systemctl enable --now "$unit.service"
{% if refresh -%}
systemctl enable --now forebay-refresh.timer
{% endif -%}
