export * from './objects.ts';
export * from './mural.ts';
export * from './flux.ts';
export * from './client.ts';
