-- Health of an OAuthApplication for Argo CD: resource.customizations.health.oauth-operator.io_OAuthApplication in argocd-cm.
local health = {status = "Progressing", message = "waiting for the operator"}

local status = obj.status
if obj.metadata.deletionTimestamp ~= nil then
  health.message = "being deleted; it waits for its connections"
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

if ready.status == "True" then
  health.status = "Healthy"
elseif status.phase == "Active" then
  health.status = "Degraded" -- the provider does not accept the client any more
elseif condition["Stalled"] ~= nil and condition["Stalled"].status == "True" then
  health.status = "Degraded"
end
return health
