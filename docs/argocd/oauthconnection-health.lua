-- Health of an OAuthConnection for Argo CD: resource.customizations.health.oauth-operator.io_OAuthConnection in argocd-cm.
local health = {status = "Progressing", message = "waiting for the operator"}

local status = obj.status
if obj.metadata.deletionTimestamp ~= nil then
  health.message = "being deleted; its tokens are being revoked"
  return health
end
if status == nil or status.conditions == nil or status.observedGeneration ~= obj.metadata.generation then
  return health
end

local condition = {}
for _, c in ipairs(status.conditions) do
  condition[c.type] = c
end
local ready = condition["Ready"]
if ready == nil then
  return health
end
health.message = ready.message

if status.phase == "Authorizing" or ready.reason == "Suspended" then
  health.status = "Suspended" -- a person has to act, or has asked for this
elseif ready.status == "True" then
  health.status = "Healthy"
elseif condition["Stalled"] ~= nil and condition["Stalled"].status == "True" then
  health.status = "Degraded"
elseif status.phase == "Active" then
  health.status = "Degraded" -- there was a token, and none works now
end
return health
