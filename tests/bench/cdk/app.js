// environments/production.yaml with the CDK's own constructs: the same network, edge, ledger, database,
// cache, backups, alarms and budget. What Forebay adds of its own (files of instances, tuned parameters
// with reasons, split by fate) is left to what the constructs do by themselves. `node app.js` writes cdk.out.
const cdk = require('aws-cdk-lib');
const { aws_ec2: ec2, aws_rds: rds, aws_elasticache: cache, aws_autoscaling: asg, aws_kms: kms, aws_sns: sns } = cdk;
const { aws_elasticloadbalancingv2: elb, aws_certificatemanager: acm, aws_route53: route53, aws_wafv2: waf } = cdk;
const { aws_backup: backup, aws_cloudwatch: cw, aws_cloudwatch_actions: actions, aws_logs: logs, aws_s3: s3 } = cdk;
const { aws_budgets: budgets, aws_sns_subscriptions: subscriptions, aws_secretsmanager: secrets, aws_iam: iam } = cdk;
const { aws_route53_targets: targets, aws_events: events } = cdk;

const app = new cdk.App({ outdir: process.env.CDK_OUTDIR || 'cdk.out' });
const env = { account: '123456789012', region: 'eu-central-1' };
const days = (n) => cdk.Duration.days(n);
const isolated = { subnetGroupName: 'data' };

const network = new cdk.Stack(app, 'production-network', { env, terminationProtection: true });
const key = new kms.Key(network, 'Key', { enableKeyRotation: true, alias: 'forebay/production' });
const topic = new sns.Topic(network, 'Topic', { masterKey: key });
topic.addSubscription(new subscriptions.EmailSubscription('sre@example.com'));
const vpc = new ec2.Vpc(network, 'Vpc', {
  ipAddresses: ec2.IpAddresses.cidr('10.20.0.0/16'),
  availabilityZones: ['eu-central-1a', 'eu-central-1b', 'eu-central-1c'],
  natGateways: 3,
  subnetConfiguration: [
    { name: 'public', subnetType: ec2.SubnetType.PUBLIC, cidrMask: 20 },
    { name: 'edge', subnetType: ec2.SubnetType.PRIVATE_WITH_EGRESS, cidrMask: 20 },
    { name: 'app', subnetType: ec2.SubnetType.PRIVATE_WITH_EGRESS, cidrMask: 20 },
    { name: 'data', subnetType: ec2.SubnetType.PRIVATE_ISOLATED, cidrMask: 20 },
  ],
  gatewayEndpoints: { s3: { service: ec2.GatewayVpcEndpointAwsService.S3 } },
});
const flows = new logs.LogGroup(network, 'Flows', { encryptionKey: key, retention: logs.RetentionDays.THREE_MONTHS });
vpc.addFlowLog('FlowLog', { destination: ec2.FlowLogDestination.toCloudWatchLogs(flows) });
const zone = new route53.PrivateHostedZone(network, 'Zone', { vpc, zoneName: 'production.internal' });
const group = (id) => new ec2.SecurityGroup(network, id, { vpc, allowAllOutbound: false, description: id });
const [balancerGroup, edgeGroup, ledgerBalancerGroup, ledgerGroup, databaseGroup, cacheGroup] =
  ['Balancer', 'Edge', 'LedgerBalancer', 'Ledger', 'Database', 'Cache'].map(group);
const flow = (from, to, port) => {
  to.addIngressRule(from, ec2.Port.tcp(port));
  from.addEgressRule(to, ec2.Port.tcp(port));
};
for (const port of [80, 443]) balancerGroup.addIngressRule(ec2.Peer.anyIpv4(), ec2.Port.tcp(port));
flow(balancerGroup, edgeGroup, 8080);
flow(balancerGroup, edgeGroup, 9090);
flow(edgeGroup, ledgerBalancerGroup, 8081);
flow(ledgerBalancerGroup, ledgerGroup, 8081);
flow(ledgerBalancerGroup, ledgerGroup, 9091);
flow(ledgerGroup, databaseGroup, 3306);
flow(edgeGroup, cacheGroup, 6379);
for (const it of [edgeGroup, ledgerGroup]) it.addEgressRule(ec2.Peer.anyIpv4(), ec2.Port.tcp(443));
edgeGroup.addEgressRule(ec2.Peer.anyIpv4(), ec2.Port.tcp(80));
const told = (notificationType, threshold) => ({
  notification: { notificationType, comparisonOperator: 'GREATER_THAN', threshold, thresholdType: 'PERCENTAGE' },
  subscribers: [{ subscriptionType: 'EMAIL', address: 'sre@example.com' }],
});
new budgets.CfnBudget(network, 'Budget', {
  budget: { budgetType: 'COST', timeUnit: 'MONTHLY', budgetLimit: { amount: 4000, unit: 'USD' } },
  notificationsWithSubscribers: [told('ACTUAL', 80), told('FORECASTED', 100)],
});

const data = new cdk.Stack(app, 'production-data', { env, terminationProtection: true });
const alarm = (scope, id, metric, threshold, comparisonOperator) => {
  const it = new cw.Alarm(scope, id, { metric, threshold, comparisonOperator, evaluationPeriods: 5 });
  it.addAlarmAction(new actions.SnsAction(topic));
  it.addOkAction(new actions.SnsAction(topic));
};
const accessLogs = new s3.Bucket(data, 'AccessLogs', {
  encryption: s3.BucketEncryption.S3_MANAGED, versioned: true, enforceSSL: true,
  blockPublicAccess: s3.BlockPublicAccess.BLOCK_ALL, lifecycleRules: [{ expiration: days(90) }],
});
const engine = rds.DatabaseInstanceEngine.mysql({ version: rds.MysqlEngineVersion.of('8.4.8', '8.4') });
const database = new rds.DatabaseInstance(data, 'Database', {
  vpc, engine, vpcSubnets: isolated, securityGroups: [databaseGroup], multiAz: true, allocatedStorage: 200,
  instanceType: ec2.InstanceType.of(ec2.InstanceClass.R7G, ec2.InstanceSize.LARGE), storageEncryptionKey: key,
  maxAllocatedStorage: 2000, storageType: rds.StorageType.GP3, backupRetention: days(35), deletionProtection: true,
  credentials: rds.Credentials.fromGeneratedSecret('ledger', { encryptionKey: key }), databaseName: 'ledger',
  monitoringInterval: cdk.Duration.seconds(60), enablePerformanceInsights: true, performanceInsightEncryptionKey: key,
  cloudwatchLogsExports: ['error', 'slowquery'], autoMinorVersionUpgrade: false,
  removalPolicy: cdk.RemovalPolicy.SNAPSHOT, parameterGroup: new rds.ParameterGroup(data, 'Parameters', {
    engine, parameters: {
      innodb_flush_log_at_trx_commit: '1', sync_binlog: '1', log_bin_trust_function_creators: '1',
      require_secure_transport: '1', transaction_isolation: 'REPEATABLE-READ', max_connections: '200',
      innodb_buffer_pool_size: '{DBInstanceClassMemory*7/10}', innodb_flush_method: 'O_DIRECT',
      max_allowed_packet: '67108864', innodb_lock_wait_timeout: '10', slow_query_log: '1', log_output: 'FILE',
      long_query_time: '0.5', character_set_server: 'utf8mb4',
    },
  }),
});
alarm(data, 'DatabaseCpu', database.metricCPUUtilization(), 80, cw.ComparisonOperator.GREATER_THAN_THRESHOLD);
alarm(data, 'DatabaseStorage', database.metricFreeStorageSpace(), 2e10, cw.ComparisonOperator.LESS_THAN_THRESHOLD);
alarm(data, 'DatabaseConnections', database.metricDatabaseConnections(), 160, cw.ComparisonOperator.GREATER_THAN_THRESHOLD);
alarm(data, 'DatabaseQueue', database.metric('DiskQueueDepth'), 64, cw.ComparisonOperator.GREATER_THAN_THRESHOLD);
const cacheSecret = new secrets.Secret(data, 'CacheSecret', {
  encryptionKey: key, generateSecretString: { secretStringTemplate: '{}', generateStringKey: 'password', excludePunctuation: true },
});
const cacheSubnets = new cache.CfnSubnetGroup(data, 'CacheSubnets', {
  description: 'data', subnetIds: vpc.selectSubnets(isolated).subnetIds,
});
const cacheParameters = new cache.CfnParameterGroup(data, 'CacheParameters', {
  cacheParameterGroupFamily: 'valkey8', description: 'lru', properties: { 'maxmemory-policy': 'allkeys-lru' },
});
new cache.CfnReplicationGroup(data, 'Cache', {
  replicationGroupDescription: 'cache', engine: 'valkey', engineVersion: '8.0', cacheNodeType: 'cache.r7g.large',
  numNodeGroups: 1, replicasPerNodeGroup: 2, automaticFailoverEnabled: true, multiAzEnabled: true,
  cacheSubnetGroupName: cacheSubnets.ref, cacheParameterGroupName: cacheParameters.ref, kmsKeyId: key.keyArn,
  securityGroupIds: [cacheGroup.securityGroupId], atRestEncryptionEnabled: true, transitEncryptionEnabled: true,
  authToken: cacheSecret.secretValueFromJson('password').unsafeUnwrap(), snapshotRetentionLimit: 1,
});
const vault = new backup.BackupVault(data, 'Vault', { encryptionKey: key });
const plan = new backup.BackupPlan(data, 'Plan', {
  backupVault: vault,
  backupPlanRules: [
    new backup.BackupPlanRule({ deleteAfter: days(35), scheduleExpression: events.Schedule.cron({ hour: '3', minute: '0' }) }),
    new backup.BackupPlanRule({ deleteAfter: days(365), scheduleExpression: events.Schedule.cron({ day: '1', hour: '5', minute: '0' }) }),
  ],
});
plan.addSelection('Databases', { resources: [backup.BackupResource.fromRdsDatabaseInstance(database)] });

const fleet = (stack, id, subnetGroupName, securityGroup, instanceType, minCapacity, maxCapacity) => {
  const role = new iam.Role(stack, `${id}Role`, { assumedBy: new iam.ServicePrincipal('ec2.amazonaws.com') });
  role.addToPolicy(new iam.PolicyStatement({ actions: ['s3:GetObject'], resources: ['arn:aws:s3:::acme-forebay-releases/forebay/*'] }));
  role.addToPolicy(new iam.PolicyStatement({ actions: ['ssmmessages:OpenDataChannel', 'ssmmessages:OpenControlChannel'], resources: ['*'] }));
  const log = new logs.LogGroup(stack, `${id}Logs`, { encryptionKey: key, retention: logs.RetentionDays.THREE_MONTHS });
  log.grantWrite(role);
  const launchTemplate = new ec2.LaunchTemplate(stack, `${id}Launch`, {
    instanceType: new ec2.InstanceType(instanceType), role, securityGroup, requireImdsv2: true, detailedMonitoring: true,
    machineImage: ec2.MachineImage.latestAmazonLinux2023({ cpuType: ec2.AmazonLinuxCpuType.ARM_64 }),
    blockDevices: [{ deviceName: '/dev/xvda', volume: ec2.BlockDeviceVolume.ebs(20, { encrypted: true, volumeType: ec2.EbsDeviceVolumeType.GP3 }) }],
    userData: ec2.UserData.forLinux(),
  });
  return new asg.AutoScalingGroup(stack, `${id}Fleet`, {
    vpc, vpcSubnets: { subnetGroupName }, launchTemplate, minCapacity, maxCapacity,
    signals: asg.Signals.waitForMinCapacity({ timeout: cdk.Duration.minutes(15) }),
    updatePolicy: asg.UpdatePolicy.rollingUpdate({ minInstancesInService: minCapacity, maxBatchSize: 1 }),
  });
};

const ledger = new cdk.Stack(app, 'production-app', { env });
const ledgerFleet = fleet(ledger, 'Ledger', 'app', ledgerGroup, 'm7g.large', 2, 3);
const inner = new elb.NetworkLoadBalancer(ledger, 'Balancer', {
  vpc, vpcSubnets: { subnetGroupName: 'app' }, securityGroups: [ledgerBalancerGroup], crossZoneEnabled: true, deletionProtection: true,
});
const ledgerTargets = inner.addListener('Listener', { port: 8081 }).addTargets('Targets', {
  port: 8081, targets: [ledgerFleet], preserveClientIp: false,
  healthCheck: { protocol: elb.Protocol.HTTP, port: '9091', path: '/readyz', interval: cdk.Duration.seconds(5), timeout: cdk.Duration.seconds(3) },
});
new route53.ARecord(ledger, 'Name', { zone, recordName: 'ledger', target: route53.RecordTarget.fromAlias(new targets.LoadBalancerTarget(inner)) });
alarm(ledger, 'Ready', ledgerTargets.metrics.healthyHostCount(), 1, cw.ComparisonOperator.LESS_THAN_THRESHOLD);

const edge = new cdk.Stack(app, 'production-edge', { env });
const publicZone = route53.HostedZone.fromHostedZoneAttributes(edge, 'Zone', { hostedZoneId: 'Z0123456789ABCDEFGHIJ', zoneName: 'example.com' });
const certificate = new acm.Certificate(edge, 'Certificate', { domainName: 'live.example.com', validation: acm.CertificateValidation.fromDns(publicZone) });
const edgeFleet = fleet(edge, 'Edge', 'edge', edgeGroup, 'c7g.xlarge', 3, 12);
edgeFleet.scaleOnCpuUtilization('Scaling', { targetUtilizationPercent: 60 });
const balancer = new elb.ApplicationLoadBalancer(edge, 'Balancer', {
  vpc, internetFacing: true, securityGroup: balancerGroup, vpcSubnets: { subnetGroupName: 'public' }, deletionProtection: true, dropInvalidHeaderFields: true,
});
balancer.logAccessLogs(s3.Bucket.fromBucketName(edge, 'Logs', 'production-access-logs'));
balancer.addRedirect();
const secure = balancer.addListener('Secure', { port: 443, certificates: [certificate], sslPolicy: elb.SslPolicy.RECOMMENDED_TLS, open: false });
const edgeTargets = secure.addTargets('Targets', {
  port: 8080, protocol: elb.ApplicationProtocol.HTTP, targets: [edgeFleet],
  healthCheck: { port: '9090', path: '/readyz', interval: cdk.Duration.seconds(5), timeout: cdk.Duration.seconds(3) },
});
new route53.ARecord(edge, 'Name', { zone: publicZone, recordName: 'live', target: route53.RecordTarget.fromAlias(new targets.LoadBalancerTarget(balancer)) });
const seen = (metricName) => ({ metricName, cloudWatchMetricsEnabled: true, sampledRequestsEnabled: true });
const managed = (name, priority) => ({
  name, priority, overrideAction: { none: {} }, visibilityConfig: seen(name),
  statement: { managedRuleGroupStatement: { vendorName: 'AWS', name } },
});
const firewall = new waf.CfnWebACL(edge, 'Firewall', {
  scope: 'REGIONAL', defaultAction: { allow: {} }, visibilityConfig: seen('firewall'),
  rules: [managed('AWSManagedRulesAmazonIpReputationList', 0), managed('AWSManagedRulesKnownBadInputsRuleSet', 1)],
});
new waf.CfnWebACLAssociation(edge, 'FirewallPlace', { resourceArn: balancer.loadBalancerArn, webAclArn: firewall.attrArn });
alarm(edge, 'Unhealthy', edgeTargets.metrics.unhealthyHostCount(), 0, cw.ComparisonOperator.GREATER_THAN_THRESHOLD);
alarm(edge, 'Slow', edgeTargets.metrics.targetResponseTime({ statistic: 'p99' }), 0.25, cw.ComparisonOperator.GREATER_THAN_THRESHOLD);
alarm(edge, 'Errors', new cw.MathExpression({
  expression: '100 * FILL(failed, 0) / everything', usingMetrics: {
    failed: balancer.metrics.httpCodeTarget(elb.HttpCodeTarget.TARGET_5XX_COUNT), everything: balancer.metrics.requestCount(),
  },
}), 1, cw.ComparisonOperator.GREATER_THAN_THRESHOLD);
void accessLogs;
app.synth();
