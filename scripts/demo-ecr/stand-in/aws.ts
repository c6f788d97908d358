import { Agent } from 'node:https';
import { parseArgs } from 'node:util';
import {
  CreateRepositoryCommand,
  DescribeImagesCommand,
  DescribeRepositoriesCommand,
  ECRClient,
} from '@aws-sdk/client-ecr';
import {
  CreateRepositoryCommand as CreatePublicRepositoryCommand,
  DescribeImagesCommand as DescribePublicImagesCommand,
  DescribeRegistriesCommand,
  ECRPUBLICClient,
} from '@aws-sdk/client-ecr-public';
import { NodeHttpHandler } from '@smithy/node-http-handler';

/**
 * The few commands of the AWS CLI that the demo uses, where the machine has none: the same calls
 * through the SDK, printed in the shape of `--output json`.
 */
const { values: options, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    'repository-name': { type: 'string' },
    'image-tag-mutability': { type: 'string' },
    region: { type: 'string' },
  },
});
const name = options['repository-name'] ?? '';
const httpsAgent = new Agent({ keepAlive: false, proxyEnv: process.env });
const common = {
  requestHandler: new NodeHttpHandler({ httpsAgent }),
  ...(options.region === undefined ? {} : { region: options.region }),
};

async function answer(): Promise<object> {
  const command = positionals.join(' ');
  const [ecr, ecrPublic] = [new ECRClient(common), new ECRPUBLICClient(common)];
  switch (command) {
    case 'ecr create-repository':
      return ecr.send(new CreateRepositoryCommand({ repositoryName: name }));
    case 'ecr describe-repositories':
      return ecr.send(new DescribeRepositoriesCommand({}));
    case 'ecr describe-images':
      return ecr.send(new DescribeImagesCommand({ repositoryName: name }));
    case 'ecr-public create-repository':
      return ecrPublic.send(new CreatePublicRepositoryCommand({ repositoryName: name }));
    case 'ecr-public describe-registries':
      return ecrPublic.send(new DescribeRegistriesCommand({}));
    case 'ecr-public describe-images':
      return ecrPublic.send(new DescribePublicImagesCommand({ repositoryName: name }));
    default:
      throw new Error(`this knows no "${command}"`);
  }
}

try {
  const { $metadata: _metadata, ...body } = (await answer()) as { readonly $metadata?: unknown };
  console.log(JSON.stringify(body, null, 4));
} catch (error) {
  console.error(`aws: ${error instanceof Error ? `[${error.name}] ${error.message}` : String(error)}`);
  process.exitCode = 254;
}
