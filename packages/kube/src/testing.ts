export {
  createFakeKubeApi,
  type FakeCall,
  type FakeKubeApi,
  type FakeKubeApiOptions,
} from './testing/fake-api.ts';
