//! The CDN: a distribution whose behaviours follow the class of what is asked for, buckets and
//! functions that only it may read, and the key that signed URLs are checked with.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::value::{arn, attribute, import, reference};
use super::{Kept, Resource, Stack, Template, camel, storage};
use crate::environment::delivery::{Behaviour, Cdn, ObjectClass, PriceClass, Target};
use crate::estate::EstatePlan;

/// Policies AWS has for everyone.
/// <https://docs.aws.amazon.com/AmazonCloudFront/latest/DeveloperGuide/using-managed-cache-policies.html>
const NEVER_CACHED: &str = "4135ea2d-6df8-44a3-9df3-4b5a84be39ad";
const ALL_BUT_HOST: &str = "b689b0a8-53d0-40ab-baf2-68738e2966ac";
/// HSTS, no sniffing, no frames of others: `Managed-SecurityHeadersPolicy`.
const SECURE_HEADERS: &str = "67f7725c-6f97-4210-82d7-5512b31e9d03";

pub(super) fn add(template: &mut Template, plan: &EstatePlan, cdn: &Cdn) {
    logs(template);
    cache_policies(template, plan, cdn);
    signing(template, plan);
    let mut origins = Vec::new();
    for name in names(cdn) {
        origins.push(origin(template, plan, name));
    }
    let price = match cdn.price_class {
        PriceClass::All => "PriceClass_All",
        PriceClass::Most => "PriceClass_200",
        PriceClass::Least => "PriceClass_100",
    };
    let countries = if cdn.countries.is_empty() {
        json!({ "RestrictionType": "none" })
    } else {
        json!({ "RestrictionType": "whitelist", "Locations": cdn.countries })
    };
    // An error is not kept longer than a viewer waits before trying again.
    let errors: Vec<Value> = [403, 404, 500, 502, 503, 504]
        .iter()
        .map(|code| json!({ "ErrorCode": code, "ErrorCachingMinTTL": 1 }))
        .collect();
    let properties = json!({ "DistributionConfig": {
        "Enabled": true,
        "Comment": format!("{} of {}", cdn.domain, plan.name),
        "Aliases": [cdn.domain],
        "HttpVersion": "http2and3",
        "IPV6Enabled": true,
        "PriceClass": price,
        "Origins": origins,
        "DefaultCacheBehavior": answered(&cdn.otherwise),
        "CacheBehaviors": behaviours(cdn),
        "CustomErrorResponses": errors,
        "ViewerCertificate": {
            "AcmCertificateArn": cdn.certificate,
            "MinimumProtocolVersion": "TLSv1.2_2021",
            "SslSupportMethod": "sni-only",
        },
        "WebACLId": cdn.firewall,
        "Restrictions": { "GeoRestriction": countries },
        "Logging": {
            "Bucket": attribute("CdnLogs", "RegionalDomainName"),
            "IncludeCookies": false,
            "Prefix": "cdn/",
        },
    } });
    let why = "close to every viewer; asks each origin once for what many want";
    let distribution = Resource::new("AWS::CloudFront::Distribution", why, properties)
        .declined("CKV_AWS_305", "it is a way to programs and films, with no page at its root")
        .declined("CKV_AWS_310", "an origin is itself spread over zones; there is no second one")
        .declined(
            "CKV_AWS_374",
            "who may watch is a question of rights: `cdn.countries` names them",
        );
    template.add("Cdn", distribution);
    name(template, plan, cdn);
    for origin in names(cdn).into_iter().filter(|name| plan.estate.storage.contains_key(*name)) {
        let bucket = import(plan, Stack::Data, &format!("{}Bucket", camel(origin)));
        let own = json!({ "Fn::Join": ["", ["arn:aws:s3:::", bucket]] });
        let policy = storage::policy(&own, &bucket, Some(distribution_arn()));
        template.add(format!("{}BucketPolicy", camel(origin)), policy);
    }
}

/// What is answered how, in the order of the file.
fn behaviours(cdn: &Cdn) -> Vec<Value> {
    let one = |behaviour: &Behaviour| {
        let target = Target {
            origin: behaviour.origin.clone(),
            class: behaviour.class,
            signed: behaviour.signed,
        };
        let mut value = answered(&target);
        value["PathPattern"] = behaviour.paths.as_str().into();
        value
    };
    cdn.behaviours.iter().map(one).collect()
}

fn distribution_arn() -> Value {
    arn("cloudfront::${AWS::AccountId}:distribution/${Cdn}")
}

/// Everything that is an origin, each once.
fn names(cdn: &Cdn) -> BTreeSet<&str> {
    let of_behaviours = cdn.behaviours.iter().map(|behaviour| behaviour.origin.as_str());
    of_behaviours.chain([cdn.otherwise.origin.as_str()]).collect()
}

fn answered(target: &Target) -> Value {
    let cache = match target.class {
        ObjectClass::Api => json!(NEVER_CACHED),
        class => reference(policy_id(class)),
    };
    let mut value = json!({
        "TargetOriginId": target.origin,
        "ViewerProtocolPolicy": "redirect-to-https",
        "Compress": target.class != ObjectClass::Segment,
        "CachePolicyId": cache,
        "ResponseHeadersPolicyId": SECURE_HEADERS,
        "AllowedMethods": ["GET", "HEAD", "OPTIONS"],
    });
    if target.class == ObjectClass::Api {
        value["OriginRequestPolicyId"] = ALL_BUT_HOST.into();
        value["AllowedMethods"] =
            json!(["DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"]);
    }
    if target.signed {
        value["TrustedKeyGroups"] = json!([reference("SigningKeys")]);
    }
    value
}

fn policy_id(class: ObjectClass) -> &'static str {
    match class {
        ObjectClass::Playlist => "PlaylistPolicy",
        ObjectClass::Segment => "SegmentPolicy",
        ObjectClass::Page => "PagePolicy",
        ObjectClass::Api => "ApiPolicy",
    }
}

/// A policy for each class that is used and kept at all.
fn cache_policies(template: &mut Template, plan: &EstatePlan, cdn: &Cdn) {
    let used: BTreeSet<ObjectClass> =
        cdn.behaviours.iter().map(|it| it.class).chain([cdn.otherwise.class]).collect();
    for class in used {
        let (shortest, otherwise, longest, queries, why) = match class {
            ObjectClass::Playlist => (0, 1, 1, "all", "a playlist is old after a second"),
            ObjectClass::Segment => (0, 86_400, 31_536_000, "none", "a segment never changes"),
            ObjectClass::Page => (0, 60, 86_400, "all", "a page is what its origin says"),
            ObjectClass::Api => continue,
        };
        let none = json!({ "HeaderBehavior": "none" });
        let properties = json!({ "CachePolicyConfig": {
            "Name": format!("{}-{}", plan.name, policy_id(class)),
            "MinTTL": shortest, "DefaultTTL": otherwise, "MaxTTL": longest,
            "ParametersInCacheKeyAndForwardedToOrigin": {
                "CookiesConfig": { "CookieBehavior": "none" },
                "EnableAcceptEncodingBrotli": true,
                "EnableAcceptEncodingGzip": true,
                "HeadersConfig": none,
                "QueryStringsConfig": { "QueryStringBehavior": queries },
            },
        } });
        let kind = "AWS::CloudFront::CachePolicy";
        template.add(policy_id(class), Resource::new(kind, why, properties));
    }
}

/// The key that signed URLs and cookies are checked with.
fn signing(template: &mut Template, plan: &EstatePlan) {
    let Some(pem) = &plan.estate.signing_key else { return };
    // CloudFront takes no other key under the same name: another key is another name.
    let digest = super::fleet::hash(pem);
    let key = json!({ "PublicKeyConfig": {
        "CallerReference": format!("{}-{digest}", plan.name),
        "EncodedKey": pem,
        "Name": format!("{}-{digest}", plan.name),
    } });
    let why = "what signed URLs and cookies are checked with";
    template.add("SigningKey", Resource::new("AWS::CloudFront::PublicKey", why, key));
    let group = json!({ "KeyGroupConfig": {
        "Name": format!("{}-signing", plan.name),
        "Items": [reference("SigningKey")],
    } });
    let why = "room for a second key while one is exchanged";
    template.add("SigningKeys", Resource::new("AWS::CloudFront::KeyGroup", why, group));
}

fn origin(template: &mut Template, plan: &EstatePlan, name: &str) -> Value {
    let shield = json!({ "Enabled": true, "OriginShieldRegion": plan.aws().region });
    if plan.estate.storage.contains_key(name) {
        let id = format!("{}Access", camel(name));
        control(template, plan, &id, name, "s3");
        return json!({
            "Id": name,
            "DomainName": import(plan, Stack::Data, &format!("{}BucketDomain", camel(name))),
            "OriginAccessControlId": attribute(&id, "Id"),
            "S3OriginConfig": { "OriginAccessIdentity": "" },
            "OriginShield": shield,
        });
    }
    let custom = json!({
        "HTTPSPort": 443,
        "OriginProtocolPolicy": "https-only",
        "OriginSSLProtocols": ["TLSv1.2"],
        "OriginReadTimeout": 60,
        "OriginKeepaliveTimeout": 60,
    });
    if plan.estate.functions.contains_key(name) {
        let id = format!("{}Access", camel(name));
        control(template, plan, &id, name, "lambda");
        let call = json!({
            "Action": "lambda:InvokeFunctionUrl",
            "FunctionName": reference(&format!("{}Function", camel(name))),
            "Principal": "cloudfront.amazonaws.com",
            "SourceArn": distribution_arn(),
        });
        let why = "nobody but the CDN calls it";
        let kind = "AWS::Lambda::Permission";
        template.add(format!("{}Call", camel(name)), Resource::new(kind, why, call));
        let url = attribute(&format!("{}Url", camel(name)), "FunctionUrl");
        // https://ID.lambda-url.REGION.on.aws/
        let host = json!({ "Fn::Select": [2, { "Fn::Split": ["/", url] }] });
        return json!({
            "Id": name,
            "DomainName": host,
            "OriginAccessControlId": attribute(&id, "Id"),
            "CustomOriginConfig": custom,
            "OriginShield": shield,
        });
    }
    json!({
        "Id": name,
        "DomainName": plan.estate.edge.domain,
        "CustomOriginConfig": custom,
        "OriginShield": shield,
    })
}

fn control(template: &mut Template, plan: &EstatePlan, id: &str, name: &str, kind: &str) {
    let properties = json!({ "OriginAccessControlConfig": {
        "Name": format!("{}-{name}", plan.name),
        "OriginAccessControlOriginType": kind,
        "SigningBehavior": "always",
        "SigningProtocol": "sigv4",
    } });
    let why = "the CDN signs what it asks for, and nobody else is answered";
    let kind = "AWS::CloudFront::OriginAccessControl";
    template.add(id, Resource::new(kind, why, properties));
}

/// Who asked the CDN for what. It writes as another account, so access lists are on here.
fn logs(template: &mut Template) {
    let properties = json!({
        "BucketEncryption": { "ServerSideEncryptionConfiguration": [
            { "ServerSideEncryptionByDefault": { "SSEAlgorithm": "AES256" } },
        ] },
        "LifecycleConfiguration": { "Rules": [
            { "Id": "Expire", "Status": "Enabled", "ExpirationInDays": 90,
              "AbortIncompleteMultipartUpload": { "DaysAfterInitiation": 1 } },
        ] },
        "OwnershipControls": { "Rules": [{ "ObjectOwnership": "BucketOwnerPreferred" }] },
        "PublicAccessBlockConfiguration": storage::nobody(),
        "VersioningConfiguration": { "Status": "Enabled" },
    });
    let why = "who asked the CDN for what";
    let bucket = Resource::new("AWS::S3::Bucket", why, properties)
        .kept(Kept::Retain)
        .declined("CKV_AWS_18", "it holds logs; a log of the log would log itself");
    template.add("CdnLogs", bucket);
    let own = attribute("CdnLogs", "Arn");
    template.add("CdnLogsPolicy", storage::policy(&own, &reference("CdnLogs"), None));
}

fn name(template: &mut Template, plan: &EstatePlan, cdn: &Cdn) {
    for (id, kind) in [("CdnName", "A"), ("CdnNameIpv6", "AAAA")] {
        let properties = json!({
            "HostedZoneId": plan.estate.edge.hosted_zone,
            "Name": cdn.domain,
            "Type": kind,
            "AliasTarget": {
                "DNSName": attribute("Cdn", "DomainName"),
                // The zone of all of CloudFront.
                "HostedZoneId": "Z2FDTNDATAQYW2",
            },
        });
        let why = "the name viewers reach it by";
        template.add(id, Resource::new("AWS::Route53::RecordSet", why, properties));
    }
}
