/** The schema of the custom resource in the recordings: one field for each way that fields merge. */
export const RECORDED_SCHEMA = {
  type: 'object',
  properties: {
    spec: {
      type: 'object',
      properties: {
        str: { type: 'string' },
        num: { type: 'integer' },
        def: { type: 'string', default: 'dv' },
        gmap: { type: 'object', additionalProperties: { type: 'string' } },
        amap: { type: 'object', 'x-kubernetes-map-type': 'atomic', additionalProperties: { type: 'string' } },
        nmap: {
          type: 'object',
          additionalProperties: {
            type: 'object',
            properties: { a: { type: 'string' }, b: { type: 'string' } },
          },
        },
        alist: { type: 'array', items: { type: 'string' } },
        slist: { type: 'array', 'x-kubernetes-list-type': 'set', items: { type: 'string' } },
        mlist: {
          type: 'array',
          'x-kubernetes-list-type': 'map',
          'x-kubernetes-list-map-keys': ['name', 'proto'],
          items: {
            type: 'object',
            required: ['name'],
            properties: {
              name: { type: 'string' },
              proto: { type: 'string', default: 'TCP' },
              v: { type: 'string' },
              sub: { type: 'object', properties: { q: { type: 'string' }, r: { type: 'string' } } },
            },
          },
        },
        any: { type: 'object', 'x-kubernetes-preserve-unknown-fields': true },
        bare: { type: 'object' },
        ios: { 'x-kubernetes-int-or-string': true },
        nul: { type: 'string', nullable: true },
        nobj: { type: 'object', nullable: true, properties: { a: { type: 'string' } } },
        obj: {
          type: 'object',
          properties: {
            a: { type: 'string' },
            b: { type: 'string' },
            deep: { type: 'object', properties: { x: { type: 'string' } } },
          },
        },
        tpl: {
          type: 'object',
          'x-kubernetes-embedded-resource': true,
          'x-kubernetes-preserve-unknown-fields': true,
        },
      },
    },
    status: { type: 'object', properties: { phase: { type: 'string' } } },
  },
} as const;
