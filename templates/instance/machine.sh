#!/bin/sh
# First boot of a machine that tasks run on: the agent of its image is told which cluster it belongs to.
set -eu
cluster='${Cluster}'
cat >>/etc/ecs/ecs.config <<CONFIG
ECS_CLUSTER=$cluster
ECS_AWSVPC_BLOCK_IMDS=true
ECS_ENABLE_SPOT_INSTANCE_DRAINING=true
ECS_CONTAINER_STOP_TIMEOUT=2m
ECS_IMAGE_CLEANUP_INTERVAL=30m
CONFIG
