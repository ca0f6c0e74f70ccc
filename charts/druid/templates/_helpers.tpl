{{/* On every object. */}}
{{- define "druid.labels" -}}
{{ include "druid.selector" . }}
app.kubernetes.io/instance: {{ .Release.Name | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- end }}

{{/* On pods. It cannot be changed, and is that of the manifests in deploy/. */}}
{{- define "druid.selector" -}}
app.kubernetes.io/name: druid
{{- end }}

{{/* The operator's configuration file. */}}
{{- define "druid.config" -}}
{{- $config := deepCopy (.Values.operatorConfig | default dict) -}}
{{- $_ := set $config "apiVersion" "config.druid.gardener.cloud/v1alpha1" -}}
{{- $_ := set $config "kind" "OperatorConfiguration" -}}
{{- with .Values.featureGates -}}
{{- $gates := $config.featureGates | default dict -}}
{{- /* Not `merge`: it takes `false` for nothing. */ -}}
{{- range $gate, $on := . -}}
{{- $_ := set $gates $gate $on -}}
{{- end -}}
{{- $_ := set $config "featureGates" $gates -}}
{{- end -}}
{{- with dig "etcdComponentProtection" nil ($config.webhooks | default dict) -}}
{{- if not (or .serviceAccountInfo .reconcilerServiceAccountFQDN) -}}
{{- $_ := set . "serviceAccountInfo" (dict "name" $.Values.serviceAccount.name "namespace" $.Release.Namespace) -}}
{{- end -}}
{{- end -}}
{{- toYaml $config -}}
{{- end }}

{{/* `true` if nobody but the operator changes what belongs to an Etcd. */}}
{{- define "druid.protects" -}}
{{- $webhooks := (.Values.operatorConfig | default dict).webhooks | default dict -}}
{{- with ($webhooks.etcdComponentProtection | default dict).enabled }}true{{ end -}}
{{- end }}

{{/* The port of the webhook. */}}
{{- define "druid.webhookPort" -}}
{{- $server := (.Values.operatorConfig | default dict).server | default dict -}}
{{- ($server.webhooks | default dict).port | default 9443 -}}
{{- end }}

{{/* `true` if one of several operators is chosen. */}}
{{- define "druid.elected" -}}
{{- with dig "leaderElection" "enabled" false (.Values.operatorConfig | default dict) }}true{{ end -}}
{{- end }}

{{/* The port of health and numbers. */}}
{{- define "druid.port" -}}
{{- dig "server" "metrics" "port" 8080 (.Values.operatorConfig | default dict) -}}
{{- end }}

{{/* Refuses values that would have no effect, or a bad one. */}}
{{- define "druid.check" -}}
{{- $refused := dict
  "controllerManager" "write it to operatorConfig (leaderElection, server, logging)"
  "controllers" "write it to operatorConfig.controllers"
  "enabledOperatorConfig" "leave it out, the operator always reads operatorConfig"
  "webhookPKI" "leave it out, the operator makes the certificate of its webhook by itself"
  "webhooks" "write it to operatorConfig.webhooks"
-}}
{{- range $name, $instead := $refused -}}
{{- if hasKey $.Values $name -}}
{{- fail (printf "%s: this chart has no such value: %s" $name $instead) -}}
{{- end -}}
{{- end -}}
{{- $config := .Values.operatorConfig | default dict -}}
{{- if hasKey $config "logConfiguration" -}}
{{- fail "operatorConfig.logConfiguration: etcd-druid reads no such field either: write it to operatorConfig.logging" -}}
{{- end -}}
{{- if hasKey ($config.clientConnection | default dict) "acceptContentType" -}}
{{- fail "operatorConfig.clientConnection.acceptContentType: etcd-druid reads no such field either: write it to acceptContentTypes, or leave it out" -}}
{{- end -}}
{{- if and (gt (int .Values.replicas) 1) (ne (include "druid.elected" .) "true") -}}
{{- fail (printf "replicas: %d operators need operatorConfig.leaderElection.enabled: true, or they work against each other" (int .Values.replicas)) -}}
{{- end -}}
{{- end }}
