{{/* The name prefix of a release's objects. */}}
{{- define "hibernaut.name" -}}
{{- if contains "hibernaut" .Release.Name -}}
{{- .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-hibernaut" .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "hibernaut.serviceAccount" -}}
{{- default (include "hibernaut.name" .) .Values.serviceAccount.existing -}}
{{- end -}}

{{- define "hibernaut.tag" -}}
{{- default .Chart.AppVersion .Values.image.tag -}}
{{- end -}}

{{- define "hibernaut.taskQueue" -}}
{{- default "hibernaut" .Values.settings.HIBERNAUT_TASK_QUEUE -}}
{{- end -}}

{{/* Selector labels of pods; `component` is worker, gateway or setup. */}}
{{- define "hibernaut.selector" -}}
app.kubernetes.io/name: hibernaut
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end -}}

{{- define "hibernaut.labels" -}}
{{ include "hibernaut.selector" . }}
app.kubernetes.io/version: {{ include "hibernaut.tag" .root | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version | quote }}
{{- end -}}

{{/* Changed settings, secrets or files of this chart restart the pods, but do not make a new build. */}}
{{- define "hibernaut.annotations" -}}
checksum/settings: {{ list .root.Values.settings .root.Values.secrets .root.Values.files .root.Values.gateway.publicUrl .root.Values.worker.drainSeconds | toJson | sha256sum }}
{{- with .annotations }}
{{ toYaml . }}
{{- end }}
{{- end -}}


{{/* Where Temporal is. The worker controller sets this for its workers, except for the CA. */}}
{{- define "hibernaut.temporalEnv" -}}
{{- $tls := .Values.temporal.tls -}}
- {name: TEMPORAL_ADDRESS, value: {{ .Values.temporal.address | quote }}}
- {name: TEMPORAL_NAMESPACE, value: {{ .Values.temporal.namespace | quote }}}
{{- if $tls.enabled }}
- {name: TEMPORAL_TLS, value: "true"}
{{- with $tls.serverName }}
- {name: TEMPORAL_TLS_SERVER_NAME, value: {{ . | quote }}}
{{- end }}
{{- if $tls.secret }}
- {name: TEMPORAL_TLS_CLIENT_CERT_PATH, value: /etc/temporal/tls/tls.crt}
- {name: TEMPORAL_TLS_CLIENT_KEY_PATH, value: /etc/temporal/tls/tls.key}
{{- end }}
{{- end }}
{{- with .Values.temporal.apiKey }}
{{- if .secret }}
- name: TEMPORAL_API_KEY
  valueFrom: {secretKeyRef: {name: {{ .secret }}, key: {{ .key }}}}
{{- end }}
{{- end }}
{{- end -}}

{{/* A container of any component: `root`, `component`, `command`, `resources`, whether it is `controlled` by
     the worker controller, and `extra` fields. */}}
{{- define "hibernaut.container" -}}
{{- $values := .root.Values -}}
- name: {{ .component }}
  image: "{{ $values.image.repository }}:{{ include "hibernaut.tag" .root }}"
  imagePullPolicy: {{ $values.image.pullPolicy }}
  command: {{ .command | toJson }}
  envFrom:
    - configMapRef: {name: {{ include "hibernaut.name" .root }}-settings}
    {{- if $values.secrets.values }}
    - secretRef: {name: {{ include "hibernaut.name" .root }}}
    {{- end }}
    {{- with $values.secrets.existing }}
    - secretRef: {name: {{ . }}}
    {{- end }}
  env:
    {{- if not .controlled }}
    {{- include "hibernaut.temporalEnv" .root | nindent 4 }}
    {{- end }}
    {{- if and $values.temporal.tls.enabled $values.temporal.tls.secret $values.temporal.tls.ca }}
    - {name: TEMPORAL_TLS_SERVER_CA_CERT_PATH, value: /etc/temporal/tls/ca.crt}
    {{- end }}
    - {name: HOME, value: /tmp}
    {{- with .env }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  {{- with .extra }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
  resources: {{ .resources | toJson }}
  securityContext:
    allowPrivilegeEscalation: false
    readOnlyRootFilesystem: true
    capabilities: {drop: [ALL]}
  volumeMounts:
    - {name: data, mountPath: /data}
    - {name: tmp, mountPath: /tmp}
    {{- if $values.files }}
    - {name: files, mountPath: /etc/hibernaut, readOnly: true}
    {{- end }}
    {{- if and $values.temporal.tls.enabled $values.temporal.tls.secret (not .controlled) }}
    - {name: temporal-tls, mountPath: /etc/temporal/tls, readOnly: true}
    {{- end }}
    {{- with .volumeMounts }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
{{- end -}}

{{/* The spec of every pod, except its container. */}}
{{- define "hibernaut.pod" -}}
{{- $values := .root.Values -}}
serviceAccountName: {{ include "hibernaut.serviceAccount" .root }}
automountServiceAccountToken: false
enableServiceLinks: false
{{- with $values.image.pullSecrets }}
imagePullSecrets:
  {{- range . }}
  - {name: {{ . }}}
  {{- end }}
{{- end }}
securityContext:
  runAsNonRoot: true
  runAsUser: 10001
  runAsGroup: 10001
  fsGroup: 10001
  fsGroupChangePolicy: OnRootMismatch
  seccompProfile: {type: RuntimeDefault}
{{- with .scheduling }}
{{ toYaml . }}
{{- end }}
volumes:
  - name: data
    {{- if $values.data.existingClaim }}
    persistentVolumeClaim: {claimName: {{ $values.data.existingClaim }}}
    {{- else }}
    emptyDir: {sizeLimit: {{ $values.data.sizeLimit }}}
    {{- end }}
  - name: tmp
    emptyDir: {sizeLimit: {{ $values.data.sizeLimit }}}
  {{- if $values.files }}
  - name: files
    configMap: {name: {{ include "hibernaut.name" .root }}-files}
  {{- end }}
  {{- if and $values.temporal.tls.enabled $values.temporal.tls.secret (not .controlled) }}
  - name: temporal-tls
    secret: {secretName: {{ $values.temporal.tls.secret }}}
  {{- end }}
  {{- with .volumes }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end -}}
