//! What the account may have, and which image a public parameter names.

use aws_sdk_servicequotas::operation::get_service_quota::GetServiceQuotaError;
use aws_sdk_servicequotas::types::ServiceQuota;
use aws_sdk_ssm::operation::get_parameter::GetParameterError;

use super::{Cloud, CloudError, failure};

impl Cloud {
    /// The value of a quota: the account's own, or what AWS gives to everybody.
    pub async fn quota(&self, service: &str, code: &str) -> Result<f64, CloudError> {
        let what = format!("the quota {code} of {service}");
        let asked = self.quotas.get_service_quota().service_code(service).quota_code(code);
        let own = match asked.send().await {
            Ok(told) => told.quota().and_then(ServiceQuota::value),
            Err(error)
                if error
                    .as_service_error()
                    .is_some_and(GetServiceQuotaError::is_no_such_resource_exception) =>
            {
                None
            }
            Err(error) => return Err(failure(&what, &error)),
        };
        if let Some(value) = own {
            return Ok(value);
        }
        let asked = self.quotas.get_aws_default_service_quota();
        let told = asked.service_code(service).quota_code(code).send().await;
        let told = told.map_err(|error| failure(&what, &error))?;
        let value = told.quota().and_then(ServiceQuota::value);
        value.ok_or_else(|| CloudError::odd(what, "it has no value"))
    }

    /// The value of a public parameter, such as the newest image of a kind; none where the region has none.
    pub async fn parameter(&self, name: &str) -> Result<Option<String>, CloudError> {
        match self.parameters.get_parameter().name(name).send().await {
            Ok(told) => Ok(told.parameter().and_then(|it| it.value()).map(str::to_owned)),
            Err(error)
                if error
                    .as_service_error()
                    .is_some_and(GetParameterError::is_parameter_not_found) =>
            {
                Ok(None)
            }
            Err(error) => Err(failure(&format!("the parameter {name}"), &error)),
        }
    }
}
