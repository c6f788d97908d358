import { createFakeKubeApi } from '@mural/kube/testing';
import { afterAll } from 'vitest';
import { describeKubeApi } from './support/kube-contract.ts';
import { cleanUp, startHub } from './support/mural.ts';

describeKubeApi('the fake API of unit tests', async () => Promise.resolve(createFakeKubeApi()));

afterAll(cleanUp);
describeKubeApi('the embedded API', async () => (await startHub()).client);
