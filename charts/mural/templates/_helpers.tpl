{{- define "mural.labels" -}}
app: {{ . }}
app.kubernetes.io/name: {{ . }}
app.kubernetes.io/part-of: mural
{{- end }}
